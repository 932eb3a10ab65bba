"""Read and simplify the sentence pairs, and split them so that no held-out sentence is trained on."""

import gzip
import random
import re
from collections import defaultdict
from typing import NamedTuple

import opencc

HELD_OUT = {"test": 1000, "validation": 500}
MAX_CHARACTERS = 300
SEED = 7


class Pair(NamedTuple):
    zh: str
    en: str


def read_pairs(path):
    """Return the pairs of cmn-eng.tsv.gz in order, in simplified characters, without repetitions."""
    simplify = opencc.OpenCC("t2s").convert
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [line.split("\t")[:2] for line in file]
    pairs = [Pair(simplify(chinese), english) for english, chinese in rows]
    return [pair for pair in dict.fromkeys(pairs) if max(map(len, pair)) <= MAX_CHARACTERS]


def key(sentence):
    """Return a sentence without case, spaces and punctuation. Sentences with equal keys count as the same."""
    return "".join(re.findall(r"\w+", sentence.casefold())) or sentence


def split_pairs(pairs, held_out=None, seed=SEED):
    """Return {"test": …, "validation": …, "train": …}; no two splits share a sentence in either language.

    Held-out pairs are drawn at random. Pairs that share a sentence with them are left out.
    """
    by_sentence = defaultdict(list)
    for index, pair in enumerate(pairs):
        for language, sentence in enumerate(pair):
            by_sentence[language, key(sentence)].append(index)
    free = dict.fromkeys(random.Random(seed).sample(range(len(pairs)), len(pairs)))
    splits = {}
    for name, size in (held_out or HELD_OUT).items():
        drawn = [index for index, _ in zip(free, range(size))]
        splits[name] = [pairs[index] for index in drawn]
        for index in drawn:
            for language, sentence in enumerate(pairs[index]):
                for neighbour in by_sentence[language, key(sentence)]:
                    free.pop(neighbour, None)
    return {**splits, "train": [pairs[index] for index in sorted(free)]}
