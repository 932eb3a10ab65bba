"""AWS Lambda, POST /videos: take a video, or say where to put it.

{"userId": "anna", "file": "<base64>"}                       a video of up to 4.4 MB
{"userId": "anna", "size": 20000000, "sha256": "<64 hex>"}   a larger one: the answer has an address to PUT it to

Both are answered with the video's id. The same video of the same user has the same id, and is processed once.
"""

import base64
import hashlib
import re
import tempfile

import cv2

import storage
from aws import REQUESTS
from errors import request_error
from jobs import USER, identify, make_key
from messages import answer_http, parse_body
from video import MAX_SECONDS, open_video

MAX_INLINE_BYTES = 4_400_000  # which is 6 MB of base64, as much as Lambda takes
MAX_BYTES = 200_000_000


def answer(event, log):
    """Return status 202 and the video's id; "upload" is added where the video must still be put."""
    request = parse_body(event)
    user = request.get("userId")
    if not isinstance(user, str) or not re.fullmatch(USER, user):
        raise request_error("invalid_user", '"userId" must be 1 to 64 letters, digits, "-" or "_".')
    given = [name for name in ("file", "size") if name in request]
    if not given:
        raise request_error("missing_input", 'Send "file", the video in base64, or its "size" and "sha256".')
    if len(given) > 1:
        raise request_error("ambiguous_input", 'Send "file", or "size" and "sha256", not both.')
    if given == ["file"]:
        return take(user, decode_base64(request["file"]), log)
    return invite(user, request["size"], request.get("sha256"), log)


def decode_base64(text):
    """Return the bytes of a base64 string, at most MAX_INLINE_BYTES; raise RequestError."""
    if not isinstance(text, str):
        raise request_error("invalid_base64", '"file" must be a string of base64.')
    if len(text) > MAX_INLINE_BYTES * 4 // 3 + 4:
        message = f'"file" may hold {MAX_INLINE_BYTES:,} bytes at most; send "size" and "sha256" to get an upload link.'
        raise request_error("too_large", message)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise request_error("invalid_base64", '"file" must be standard base64 on one line.') from None


def take(user, data, log):
    """Store a video, unless it is there already."""
    check(data)
    identifier = identify(user, hashlib.sha256(data).hexdigest())
    log["new"] = storage.store.write(REQUESTS, make_key("requests", identifier, ".mp4"), data, previous=None)
    return 202, {"id": identifier}


def check(data):
    """Raise RequestError for what is no video, or too long a one."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        capture = open_video(file.name)
        seconds = capture.get(cv2.CAP_PROP_FRAME_COUNT) / max(1, capture.get(cv2.CAP_PROP_FPS))
        capture.release()
    if seconds > MAX_SECONDS:
        raise request_error("too_large", f"A video may last {MAX_SECONDS} seconds at most; cut it.")


def invite(user, size, sha256, log):
    """Return an address to put a video to, unless it is there already."""
    if type(size) is not int or not 0 < size <= MAX_BYTES:
        raise request_error("invalid_size", f'"size" must be a whole number of bytes, {MAX_BYTES:,} at most.')
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise request_error("invalid_sha256", '"sha256" must be the SHA-256 of the video, 64 hexadecimal digits.')
    identifier = identify(user, sha256)
    key = make_key("requests", identifier, ".mp4")
    log["new"] = storage.store.find(REQUESTS, key)[1] is None
    upload = {"upload": storage.store.upload_link(REQUESTS, key, size, sha256)} if log["new"] else {}
    return 202, {"id": identifier, **upload}


lambda_handler = answer_http(answer)
