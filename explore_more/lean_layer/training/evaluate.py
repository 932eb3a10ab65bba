"""Measure a trained model on held-out pairs: BLEU, chrF, and speed compared with the training framework.

python training/evaluate.py deu-eng.zip build/marian        writes metrics.json; exits with 1 if a check fails
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import ctranslate2
import sentencepiece
import torch
from convert import Converter
from corpus import read_pairs, split_pairs
from sacrebleu.metrics import BLEU, CHRF
from transformers import MarianMTModel

FOLDER = Path(__file__).resolve().parent.parent
EQUAL = 30  # sentences, drawn at random
MAX_LOSS = 0.5  # of BLEU, because of int8
SPEED = 96  # sentences


def load(marian, quantization):
    """Return a CTranslate2 translator for a model in Hugging Face's format."""
    with tempfile.TemporaryDirectory() as folder:
        Converter(str(marian)).convert(folder, quantization=quantization, force=True)
        return ctranslate2.Translator(folder, intra_threads=1)


def translate(translator, tokens, beam_size=4, **options):
    results = translator.translate_batch(tokens, beam_size=beam_size, disable_unk=True, **options)
    return [result.hypotheses[0] for result in results]


class Framework:
    """The model in PyTorch, which translates with the generate method of transformers."""

    def __init__(self, marian):
        self.model = MarianMTModel.from_pretrained(marian, attn_implementation="eager").eval()
        self.names = {number: name for name, number in json.loads((marian / "vocab.json").read_text()).items()}
        self.numbers = {name: number for number, name in self.names.items()}

    @torch.no_grad()
    def translate(self, tokens, beam_size=1):
        unknown, pad, end = self.numbers["<unk>"], self.numbers["<pad>"], self.numbers["</s>"]
        rows = [torch.tensor([self.numbers.get(token, unknown) for token in sentence]) for sentence in tokens]
        source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
        answers = self.model.generate(
            source, attention_mask=(source != pad).long(), num_beams=beam_size, bad_words_ids=[[pad], [unknown]],
            max_new_tokens=200,
        )  # fmt: skip
        return [[self.names[i] for i in row.tolist() if i not in (pad, end)] for row in answers]


def sentences_a_second(function, tokens, batch, **options):
    """Return how many sentences per second a function translates in batches."""
    function(tokens[:batch], **options)
    started = time.perf_counter()
    for start in range(0, len(tokens), batch):
        function(tokens[start : start + batch], **options)
    return round(len(tokens) / (time.perf_counter() - started), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="deu-eng.zip")
    parser.add_argument("marian", type=Path, nargs="?", default=Path("build/marian"))
    parser.add_argument("--output", type=Path, default=FOLDER / "metrics.json")
    parser.add_argument("--speed", action="store_true", help="measure only sentences per second")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    test = split_pairs(read_pairs(arguments.pairs))["test"]
    source, target = (
        sentencepiece.SentencePieceProcessor(model_file=str(arguments.marian / f"{name}.spm"))
        for name in ("source", "target")
    )
    tokens = [[*pieces, "</s>"] for pieces in source.encode([pair.german for pair in test], out_type=str)]
    framework, int8 = Framework(arguments.marian), load(arguments.marian, "int8")
    metrics = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    if arguments.speed:
        some = random.Random(0).sample(tokens, SPEED)
        metrics["sentences_a_second"] = {
            f"{name}, beam {beam}, {how}": sentences_a_second(function, some, batch, beam_size=beam)
            for beam in (1, 4)
            for how, batch in (("in batches of 32", 32), ("singly", 1))
            for name, function in (
                ("ctranslate2 int8", lambda tokens, **options: translate(int8, tokens, **options)),
                ("transformers", framework.translate),
            )
        }
        failed = False
    else:
        float32 = load(arguments.marian, "float32")
        references, metrics["test"] = [[pair.english for pair in test]], {}
        for name, translator, beam in (("int8", int8, 4), ("float32", float32, 4), ("int8 greedy", int8, 1)):
            answers = [target.decode(answer) for answer in translate(translator, tokens, beam, max_batch_size=64)]
            metrics["test"][name] = {
                kind.__name__: round(score.corpus_score(answers, references).score, 2)
                for kind in (BLEU, CHRF)
                for score in [kind()]
            }
        bleu, chrf = BLEU(), CHRF()
        for score in (bleu, chrf):
            score.corpus_score(answers, references)
        metrics["signatures"] = [str(bleu.get_signature()), str(chrf.get_signature())]
        metrics["test_pairs"] = len(test)
        some = random.Random(0).sample(tokens, EQUAL)
        equal = sum(
            mine == theirs
            for mine, theirs in zip(translate(float32, some, 1), (framework.translate([s])[0] for s in some))
        )
        metrics["equal_to_framework"] = f"{equal} of {EQUAL}"
        lost = metrics["test"]["float32"]["BLEU"] - metrics["test"]["int8"]["BLEU"]
        failed = equal < EQUAL or lost > MAX_LOSS
    arguments.output.write_text(json.dumps(metrics, indent=2) + "\n")
    print(arguments.output.read_text(), end="")
    sys.exit(failed)


if __name__ == "__main__":
    main()
