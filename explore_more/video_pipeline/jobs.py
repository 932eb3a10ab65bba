"""A job is one user's video. Its identifier says whose it is, and the keys of all its objects follow from it."""

import hashlib
import re

from errors import request_error

USER = r"[A-Za-z0-9_-]{1,64}"
IDENTIFIER = rf"({USER})-[0-9a-f]{{32}}"


def identify(user, sha256):
    """Return the identifier of the job for a user's video, given the video's SHA-256 in hex: one video is one job."""
    return f"{user}-{hashlib.sha256(f'{user}/{sha256}'.encode()).hexdigest()[:32]}"


def make_key(folder, identifier, ending):
    """Return the key of a job's object, such as requests/<user>/<identifier>.mp4; raise RequestError."""
    match = re.fullmatch(IDENTIFIER, identifier)
    if not match:
        raise request_error("not_found", "There is no such video; its id is in the answer to POST /videos.")
    return f"{folder}/{match[1]}/{identifier}{ending}"


def parse_key(key):
    """Return the identifier of the job that a key belongs to; raise RequestError."""
    match = re.fullmatch(rf"[^/]+/({USER})/({IDENTIFIER})\.[a-z0-9]+", key)
    if not match or match[1] != match[3]:
        raise request_error("unsupported_event", "The object's key must be <folder>/<user>/<id>.<ending>.")
    return match[2]
