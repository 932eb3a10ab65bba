"""Measure the trained model on held-out pairs in both directions: BLEU and chrF, as int8 and as float32.

python training/evaluate.py cmn-eng.tsv.gz        writes metrics.json; exits with 1 if int8 loses too much
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
from train import TAGS

FOLDER = Path(__file__).resolve().parent.parent
MAX_LOSS = 0.5  # of BLEU, because of int8


def translate(marian, quantization, sentences, tag, beam_size=4):
    """Convert a model from Hugging Face's format; return its translations."""
    source, target = (
        sentencepiece.SentencePieceProcessor(model_file=str(marian / f"{name}.spm")) for name in ("source", "target")
    )
    tokens = [[tag, *pieces, "</s>"] for pieces in source.encode(sentences, out_type=str)]
    with tempfile.TemporaryDirectory() as folder:
        convert(marian, Path(folder), quantization)
        translator = ctranslate2.Translator(folder, intra_threads=1)
        results = translator.translate_batch(tokens, beam_size=beam_size, max_batch_size=64, disable_unk=True)
    return [target.decode(result.hypotheses[0]) for result in results]


def measure(marian, test, source, target):
    """Return the scores of one direction."""
    sentences, references = ([getattr(pair, side) for pair in test] for side in (source, target))
    measured = {"test_pairs": len(test)}
    for quantization in ("int8", "float32"):
        answers = translate(marian, quantization, sentences, TAGS[target])
        for score in (BLEU(tokenize="zh" if target == "zh" else "13a"), CHRF()):
            name = type(score).__name__
            measured[f"{name} {quantization}"] = round(score.corpus_score(answers, [references]).score, 2)
            measured[f"{name} signature"] = str(score.get_signature())
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="cmn-eng.tsv.gz")
    parser.add_argument("marian", type=Path, nargs="?", default=Path("build/marian"))
    parser.add_argument("--output", type=Path, default=FOLDER / "metrics.json")
    arguments = parser.parse_args()
    test = split_pairs(read_pairs(arguments.pairs))["test"]
    metrics = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    metrics["translation"] = {
        f"{source}-{target}": measure(arguments.marian, test, source, target)
        for source, target in (("zh", "en"), ("en", "zh"))
    }
    arguments.output.write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics["translation"], indent=2))
    sys.exit(any(way["BLEU float32"] - way["BLEU int8"] > MAX_LOSS for way in metrics["translation"].values()))


if __name__ == "__main__":
    main()
