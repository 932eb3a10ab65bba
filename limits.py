"""What a request may ask for.

An environment variable of a limit's name overrides it. One that makes no sense stops the function at its start.
"""

import os
import re


def read_number(name, default, least, most):
    """Return the number in an environment variable, `default` without one; raise ValueError."""
    text = os.environ.get(name) or str(default)
    try:
        number = type(default)(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} is {text!r}; it must be a number from {least} to {most}")
    return number


def read_words(name, default, pattern):
    """Return the words between the commas of an environment variable, as a tuple; raise ValueError."""
    text = os.environ.get(name) or default
    words = tuple(word.strip() for word in text.split(",")) if text else ()
    if not all(re.fullmatch(pattern, word) for word in words):
        raise ValueError(f"{name} is {text!r}; it must be a list with commas of {pattern}")
    return words


ALLOWED_SCHEMES = read_words("ALLOWED_SCHEMES", "https,http", "https|http")
ALLOWED_PORTS = tuple(map(int, read_words("ALLOWED_PORTS", "443,80", "[1-9][0-9]{0,4}")))
ALLOWED_HOSTS = read_words("ALLOWED_HOSTS", "", r"(\*\.)?[a-z0-9.:-]+")  # none: every public one
ALLOW_LOOPBACK = read_words("ALLOW_LOOPBACK", "false", "true|false") == ("true",)  # to develop, on any port
MAX_REDIRECTS = read_number("MAX_REDIRECTS", 3, 0, 20)
MAX_URL_CHARACTERS = read_number("MAX_URL_CHARACTERS", 2048, 1, 100_000)
CONNECT_SECONDS = read_number("CONNECT_SECONDS", 3.0, 0.001, 900)
DOWNLOAD_SECONDS = read_number("DOWNLOAD_SECONDS", 8.0, 0.001, 900)  # names, redirects and all
MAX_DOWNLOAD_BYTES = read_number("MAX_DOWNLOAD_BYTES", 10_000_000, 1, 1_000_000_000)
MAX_INLINE_BYTES = read_number("MAX_INLINE_BYTES", 4_400_000, 1, 1_000_000_000)
FORMATS = read_words("FORMATS", "JPEG,PNG,WEBP,GIF,BMP", "JPEG|PNG|WEBP|GIF|BMP")
MAX_PIXELS = read_number("MAX_PIXELS", 25_000_000, 1, 178_000_000)
DECODE_SECONDS = read_number("DECODE_SECONDS", 5.0, 0.001, 900)
