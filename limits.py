"""The limits on a request that an operator may want to change.

An environment variable with the name of a limit overrides it. A value that makes no sense stops the function at start.
"""

import os
import re


def read_number(name, default, least, most):
    """Return the number in an environment variable, or `default` if it is not set; raise ValueError."""
    text = os.environ.get(name) or str(default)
    try:
        number = type(default)(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise ValueError(f"{name} is {text!r}; it must be a number from {least} to {most}")
    return number


def read_words(name, default, pattern):
    """Return the comma-separated words in an environment variable as a tuple; raise ValueError."""
    text = os.environ.get(name) or default
    words = tuple(word.strip() for word in text.split(",")) if text else ()
    if not all(re.fullmatch(pattern, word) for word in words):
        raise ValueError(f"{name} is {text!r}; it must be a comma-separated list, and each word must match {pattern}")
    return words


ALLOWED_SCHEMES = read_words("ALLOWED_SCHEMES", "https,http", "https|http")
ALLOWED_HOSTS = read_words("ALLOWED_HOSTS", "", r"(\*\.)?[a-z0-9.:-]+")  # an empty list allows every public host
ALLOW_LOOPBACK = read_words("ALLOW_LOOPBACK", "false", "true|false") == ("true",)  # for development; any port
DOWNLOAD_SECONDS = read_number("DOWNLOAD_SECONDS", 8.0, 0.001, 900)  # including name lookup and redirects
MAX_DOWNLOAD_BYTES = read_number("MAX_DOWNLOAD_BYTES", 10_000_000, 1, 1_000_000_000)
MAX_INLINE_BYTES = read_number("MAX_INLINE_BYTES", 4_400_000, 1, 1_000_000_000)
MAX_PIXELS = read_number("MAX_PIXELS", 25_000_000, 1, 178_000_000)
DECODE_SECONDS = read_number("DECODE_SECONDS", 5.0, 0.001, 900)
