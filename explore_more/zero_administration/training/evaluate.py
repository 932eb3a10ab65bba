"""Measure a trained model on held-out pairs: BLEU and chrF, as int8 and as float32.

python training/evaluate.py cmn-eng.tsv.gz zh en        writes metrics.json; exits with 1 where int8 loses too much
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import ctranslate2
import sentencepiece
from convert import convert
from corpus import read_pairs, split_pairs
from sacrebleu.metrics import BLEU, CHRF
from train import SIMPLIFIED

FOLDER = Path(__file__).resolve().parent.parent
MAX_LOSS = 0.5  # of BLEU, by int8


def translate(marian, quantization, sentences, beam_size):
    """Return the translations of a model in Hugging Face's format, converted first."""
    source, target = (
        sentencepiece.SentencePieceProcessor(model_file=str(marian / f"{name}.spm")) for name in ("source", "target")
    )
    first = [SIMPLIFIED] if SIMPLIFIED in json.loads((marian / "vocab.json").read_text()) else []
    tokens = [[*first, *pieces, "</s>"] for pieces in source.encode(sentences, out_type=str)]
    with tempfile.TemporaryDirectory() as folder:
        convert(marian, Path(folder), quantization)
        translator = ctranslate2.Translator(folder, intra_threads=1)
        results = translator.translate_batch(tokens, beam_size=beam_size, max_batch_size=64, disable_unk=True)
    return [target.decode(result.hypotheses[0]) for result in results]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="cmn-eng.tsv.gz")
    parser.add_argument("source", choices=("zh", "en"))
    parser.add_argument("target", choices=("zh", "en"))
    parser.add_argument("--output", type=Path, default=FOLDER / "metrics.json")
    arguments = parser.parse_args()
    name = f"{arguments.source}-{arguments.target}"
    test = split_pairs(read_pairs(arguments.pairs))["test"]
    sentences, references = ([getattr(pair, side) for pair in test] for side in (arguments.source, arguments.target))
    measured = {"test_pairs": len(test)}
    for quantization in ("int8", "float32"):
        answers = translate(Path("build/marian", name), quantization, sentences, beam_size=4)
        for score in (BLEU(tokenize="zh" if arguments.target == "zh" else "13a"), CHRF()):
            measured[f"{type(score).__name__} {quantization}"] = round(
                score.corpus_score(answers, [references]).score, 2
            )
            measured[f"{type(score).__name__} signature"] = str(score.get_signature())
    metrics = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    metrics.setdefault("translation", {})[name] = measured
    arguments.output.write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(measured, indent=2))
    sys.exit(measured["BLEU float32"] - measured["BLEU int8"] > MAX_LOSS)


if __name__ == "__main__":
    main()
