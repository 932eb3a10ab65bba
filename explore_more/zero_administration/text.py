"""Check a text, count its words by language, and simplify its characters; both scripts need this."""

import re
import unicodedata
from functools import lru_cache

import opencc

from answers import request_error

MAX_CHARACTERS = 5000
HAN = re.compile(r"[々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’\-][A-Za-z\u00c0-\u024f]+)*")
LINE_BREAKS = "\t\n\r"


def read_text(request):
    """Return the text of a request; raise RequestError."""
    if "text" not in request:
        raise request_error("missing_text", 'The request has no "text".')
    text = request["text"]
    if not isinstance(text, str):
        raise request_error("invalid_text", '"text" must be a string.')
    if len(text) > MAX_CHARACTERS:
        message = f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed. Send it in parts."
        raise request_error("text_too_long", message)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text if character not in LINE_BREAKS):
        raise request_error("invalid_text", "The text has a control character; remove it.")
    if not any(character.isalnum() for character in text):
        raise request_error("empty_text", "The text has no words.")
    return text


@lru_cache(maxsize=1)
def converter():
    return opencc.OpenCC("t2s")


def simplify(text):
    """Return a text with its traditional characters simplified."""
    return converter().convert(text)


def count_words(text):
    """Return how many Chinese characters, Latin words, and letters of other scripts a text has."""
    han, latin = len(HAN.findall(text)), LATIN_WORD.findall(text)
    others = sum(map(str.isalpha, text)) - han - sum(sum(map(str.isalpha, word)) for word in latin)
    return {"zh": han, "en": len(latin), "other": others}
