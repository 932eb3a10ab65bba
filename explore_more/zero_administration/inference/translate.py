"""POST /translate: take {"text": "我饿了。", "source": "zh", "target": "en"}; return the translation."""

import json
import os
import re
from functools import lru_cache
from typing import NamedTuple

import ctranslate2
import sentencepiece
from sentencex import segment

from answers import answering, check_options, request_error
from model_cache import find_model
from text import count_words, read_text, simplify

PAIRS = {("zh", "en"): "zh-en", ("en", "zh"): "en-zh"}
LANGUAGES = {"zh": "Chinese", "en": "English"}
# A model with several target languages, such as opus-mt-en-zh, needs a first token that names one.
TAGS = {"zh": ">>cmn_Hans<<", "en": ">>eng<<"}
MAX_PIECES = 400  # in a sentence; the models have 512 positions
BATCH_TOKENS = 1024
BEAM_SIZE = 4
# Emoji, flags and similar symbols, with the characters that join and color them. No model knows them.
SYMBOLS = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\U000e0020-\U000e007f\ufe0f\u200d\u20e3]+")


class Model(NamedTuple):
    translator: ctranslate2.Translator
    source: sentencepiece.SentencePieceProcessor
    target: sentencepiece.SentencePieceProcessor
    prefix: list


@lru_cache(maxsize=None)
def load(name):
    """Return a model; raise RequestError."""
    folder = find_model(name)
    pieces = (
        sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{side}.spm")) for side in Model._fields[1:3]
    )
    translator = ctranslate2.Translator(str(folder), intra_threads=int(os.environ.get("THREADS") or 1))
    names = json.loads(next(folder.glob("s*_vocabulary.json")).read_text())  # the source's, or a shared one
    tag = TAGS[name.split("-")[1]]
    return Model(translator, *pieces, [tag] if tag in names else [])


def read_request(request):
    """Return the text of a request and its two languages; raise RequestError."""
    check_options(request, ("source", "target"))
    languages = request.get("source", "zh"), request.get("target", "en")
    if not all(isinstance(language, str) for language in languages) or languages not in PAIRS:
        allowed = " or ".join(f'"source": "{source}", "target": "{target}"' for source, target in PAIRS)
        raise request_error("unsupported_pair", f"These pairs are possible: {allowed}.")
    text = read_text(request)
    source = languages[0]
    counted = count_words(text)
    if not counted[source] or sum(counted.values()) > 2 * counted[source]:
        message = f'The text is mostly not {LANGUAGES[source]}, but "source" says that it is.'
        raise request_error("wrong_language", message)
    return text, *languages


def split(text, language):
    """Return the parts of a text, which are sentences and what is between them; joined, they are the text."""
    return [part for line in re.split(r"([\r\n]+)", text) for part in segment(language, line) if part]


def translate(sentences, name):
    """Return a model's translation of each sentence; raise RequestError."""
    model = load(name)
    tokens = [[*model.prefix, *pieces, "</s>"] for pieces in model.source.encode(sentences, out_type=str)]
    longest = max(map(len, tokens))
    if longest > MAX_PIECES:
        message = f"A sentence has {longest:,} pieces of words; {MAX_PIECES:,} are allowed. Divide it with full stops."
        raise request_error("sentence_too_long", message)
    results = model.translator.translate_batch(
        tokens,
        max_batch_size=BATCH_TOKENS,
        batch_type="tokens",
        beam_size=BEAM_SIZE,
        disable_unk=True,
        max_decoding_length=min(MAX_PIECES, 3 * longest + 10),
    )
    return [model.target.decode(result.hypotheses[0]) for result in results]


def translate_text(text, source, target):
    """Return a text in the other language. Parts without a word of the source language stay as they are."""
    parts = split(text, source)
    prepared = [SYMBOLS.sub("", simplify(part) if source == "zh" else part).strip() for part in parts]
    chosen = [index for index, part in enumerate(prepared) if count_words(part)[source]]
    for index, translation in zip(chosen, translate([prepared[index] for index in chosen], PAIRS[source, target])):
        symbols = "".join(SYMBOLS.findall(parts[index]))
        space = re.search(r"\s*$", parts[index])[0] if target == "en" else ""
        parts[index] = translation + (f" {symbols}" if symbols else "") + (space or (" " if target == "en" else ""))
    return re.sub(r" +(?=[\r\n]|$)", "", "".join(parts)).strip()


@answering
def handler(request):
    """Answer a request with {"translation": …}."""
    text, source, target = read_request(request)
    return {"translation": translate_text(text, source, target)}
