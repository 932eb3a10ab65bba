"""Convert a Marian model from Hugging Face's format to CTranslate2's, with int8 weights, and try a sentence.

python training/convert.py build/marian translation_function/model         the model that train.py makes
python training/convert.py Helsinki-NLP/opus-mt-de-en translation_function/model   a large model; it downloads 300 MB
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from ctranslate2.converters import TransformersConverter
from huggingface_hub import snapshot_download

PIECES = ("source.spm", "target.spm")
PROOF = """
from app import translate
print(translate(["Ich habe Hunger."], attention=False)[0]["hypotheses"][0]["text"])
"""


class Converter(TransformersConverter):
    """A converter whose models return the mean attention of all heads in the last layer, instead of its first head."""

    def _load(self):
        specification = super()._load()
        specification.decoder.alignment_heads = np.int16(specification.decoder.num_heads)
        return specification


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder, or the name of a model on Hugging Face's hub")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("translation_function/model"))
    parser.add_argument("--quantization", default="int8", help="such as int8 or float32 (default: int8)")
    arguments = parser.parse_args()
    source = Path(arguments.model)
    if not source.is_dir():
        source = Path(snapshot_download(arguments.model, allow_patterns=["*.json", "*.spm", "*.bin", "*.safetensors"]))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    Converter(str(source)).convert(str(arguments.folder), quantization=arguments.quantization, force=True)
    for name in PIECES:
        shutil.copy(source / name, arguments.folder)
    size = sum(path.stat().st_size for path in arguments.folder.iterdir())
    print(f"wrote {arguments.folder}: {size / 1e6:.1f} MB")
    app = Path(__file__).resolve().parent.parent / "translation_function"
    environ = {**os.environ, "MODEL_FOLDER": str(arguments.folder.resolve())}
    sys.exit(subprocess.run([sys.executable, "-c", PROOF], cwd=app, env=environ, check=False).returncode)


if __name__ == "__main__":
    main()
