"""The limits of a request.

An environment variable with the name of a limit overrides it. An invalid value stops the function when it starts.
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
    """Return the comma-separated words of an environment variable as a tuple; raise ValueError."""
    text = os.environ.get(name) or default
    words = tuple(word.strip() for word in text.split(",")) if text else ()
    if not all(re.fullmatch(pattern, word) for word in words):
        raise ValueError(f"{name} is {text!r}; it must be a comma-separated list of {pattern}")
    return words


ALLOWED_SCHEMES = read_words("ALLOWED_SCHEMES", "https,http", "https|http")
ALLOWED_HOSTS = read_words("ALLOWED_HOSTS", "", r"(\*\.)?[a-z0-9.:-]+")  # empty: every public host
ALLOW_LOOPBACK = read_words("ALLOW_LOOPBACK", "false", "true|false") == ("true",)  # for development; allows any port
DOWNLOAD_SECONDS = read_number("DOWNLOAD_SECONDS", 60.0, 0.001, 900)  # including name resolution and redirects
MAX_DOWNLOAD_BYTES = read_number("MAX_DOWNLOAD_BYTES", 100_000_000, 1, 1_000_000_000)
MAX_INLINE_BYTES = read_number("MAX_INLINE_BYTES", 4_400_000, 1, 1_000_000_000)  # in base64, Lambda's 6 MB
MAX_INLINE_ANSWER_BYTES = read_number("MAX_INLINE_ANSWER_BYTES", 1_000_000, 0, 4_400_000)
MAX_OBJECT_BYTES = read_number("MAX_OBJECT_BYTES", 1_500_000_000, 1, 10_000_000_000)  # twice in /tmp's 4 GB
MIN_RATE = read_number("MIN_RATE", 4_000, 1, 192_000)  # samples a second
MAX_RATE = read_number("MAX_RATE", 192_000, 8_000, 768_000)
MAX_CHANNELS = read_number("MAX_CHANNELS", 8, 1, 8)
MAX_SECONDS = read_number("MAX_SECONDS", 3600.0, 0.001, 86_400)  # added up over all channels
SYNC_SECONDS = read_number("SYNC_SECONDS", 120.0, 0.001, 86_400)  # the same, for API Gateway's 29 seconds
