"""Convert a Marian model from Hugging Face's format to CTranslate2's, with int8 weights.

python training/convert.py build/marian models/small                          the model that train.py makes
python training/convert.py Helsinki-NLP/opus-mt-zh-en build/models/zh-en      a large model; it downloads 300 MB
"""

import argparse
import shutil
import sys
from pathlib import Path

from ctranslate2.converters import TransformersConverter
from huggingface_hub import snapshot_download

PIECES = ("source.spm", "target.spm")
FILES = [*PIECES, "*.json", "pytorch_model.bin", "model.safetensors"]


def find_source(model):
    """Return the folder of a model, downloaded from the hub if `model` is not a folder; exit if that fails."""
    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(snapshot_download(model, allow_patterns=FILES))
    except Exception as error:  # without a network, the HTTP client raises many kinds of errors
        sys.exit(f"convert.py: {model} is no folder, and the hub did not provide it: {type(error).__name__}: {error}")


def convert(source, folder, quantization):
    """Convert a model, and write it with its SentencePiece models to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    TransformersConverter(str(source)).convert(str(folder), quantization=quantization, force=True)
    for name in PIECES:
        shutil.copy(source / name, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder, or the name of a model on Hugging Face's hub")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantization", default="int8", help="such as int8 or float32 (default: int8)")
    arguments = parser.parse_args()
    convert(find_source(arguments.model), arguments.folder, arguments.quantization)
    size = sum(path.stat().st_size for path in arguments.folder.iterdir())
    print(f"wrote {arguments.folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
