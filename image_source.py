"""Get the photo of a request, from an address or from base64, within limits of time and size."""

import base64
import io
import struct
import time
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import numpy as np
import urllib3
from PIL import Image, ImageOps, WebPImagePlugin  # noqa: F401
from urllib3 import exceptions

CONNECT_SECONDS = 3
DOWNLOAD_SECONDS = 8  # looked at after each piece of the body that arrives
MAX_REDIRECTS = 3
MAX_URL_CHARACTERS = 2048
MAX_DOWNLOAD_BYTES = 10_000_000
MAX_INLINE_BYTES = 4_400_000
MAX_PIXELS = 25_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
DECODE_FAULTS = (OSError, SyntaxError, TypeError, ValueError, struct.error)  # what Pillow raises for bad bytes

# Every code of a caller's fault, with its HTTP status.
STATUS = {
    "missing_input": 400,
    "ambiguous_input": 400,
    "invalid_json": 400,
    "invalid_body": 400,
    "invalid_base64": 400,
    "invalid_url": 400,
    "unsupported_scheme": 400,
    "unsupported_event": 400,
    "too_large": 413,
    "unsupported_format": 415,
    "undecodable": 422,
    "too_many_pixels": 422,
    "dns_failed": 424,
    "connect_failed": 424,
    "tls_failed": 424,
    "fetch_timeout": 424,
    "too_many_redirects": 424,
    "incomplete_body": 424,
    "upstream_status": 424,
}

# The first class that matches names the fault; subclasses therefore stand before their parents.
DOWNLOAD_FAULTS = (
    (exceptions.LocationParseError, "invalid_url", "The address cannot be read as a URL."),
    (exceptions.NameResolutionError, "dns_failed", "The address's host name is unknown."),
    (exceptions.NewConnectionError, "connect_failed", "The address's server cannot be reached."),
    (exceptions.SSLError, "tls_failed", "The address's server failed the TLS handshake."),
    (exceptions.TimeoutError, "fetch_timeout", "The address's server was too slow to answer."),
    (exceptions.HTTPError, "incomplete_body", "The address's server broke off its answer."),
)

# With WebP, above, all FORMATS: loaded at start and not with the first photo.
Image.preinit()

http = urllib3.PoolManager(
    headers={"Accept": "image/*", "User-Agent": "clothing-classifier"},
    retries=False,
)


class InputError(Exception):
    """A fault of the caller, in a sentence; `status` is its HTTP status."""


def input_error(code, message):
    """Return an InputError whose class is named `code`: Lambda reports it as `errorType`."""
    return type(code, (InputError,), {"status": STATUS[code]})(message)


def read_photo(request):
    """Return the photo's bytes for {"url": address} or {"image": base64}; raise InputError."""
    if "url" in request and "image" in request:
        raise input_error("ambiguous_input", 'Send "url" or "image", not both.')
    if "url" in request:
        return download(request["url"])
    if "image" in request:
        return decode_base64(request["image"])
    raise input_error("missing_input", 'Send {"url": "https://…"} or {"image": "<base64>"}.')


def decode_base64(text):
    """Return the bytes of a base64 string, at most MAX_INLINE_BYTES; raise InputError."""
    if not isinstance(text, str):
        raise input_error("invalid_base64", '"image" must be a string of base64.')
    if len(text) > MAX_INLINE_BYTES * 4 // 3 + 4:
        raise input_error("too_large", f'"image" may hold {MAX_INLINE_BYTES:,} bytes at most.')
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise input_error("invalid_base64", '"image" must be standard base64 on one line.') from None


def download(url):
    """Return the bytes at an http(s) address within the limits above; raise InputError."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    try:
        for _ in range(MAX_REDIRECTS + 1):
            check_url(url)
            timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=max(deadline - time.monotonic(), 0.01))
            response = http.request("GET", url, timeout=timeout, redirect=False, preload_content=False)
            location = response.get_redirect_location()
            if not location:
                return read_body(response, deadline)
            response.close()
            url = join_url(url, location)
    except exceptions.HTTPError as error:
        code, message = next(fault[1:] for fault in DOWNLOAD_FAULTS if isinstance(error, fault[0]))
        raise input_error(code, message) from error
    raise input_error("too_many_redirects", f"The address redirects over {MAX_REDIRECTS} times.")


def join_url(url, location):
    """Return the address that a redirect from `url` leads to; raise InputError."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise input_error("invalid_url", "The address redirects to what cannot be read as a URL.") from None


def check_url(url):
    """Raise InputError unless `url` is an http or https address with a host."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARACTERS:
        raise input_error("invalid_url", f'"url" must be a string of at most {MAX_URL_CHARACTERS:,} characters.')
    try:
        parts = urlsplit(url)
    except ValueError:
        raise input_error("invalid_url", '"url" cannot be read as a URL.') from None
    if parts.scheme not in ("http", "https"):
        raise input_error("unsupported_scheme", '"url" must begin with https:// or http://.')
    if not parts.hostname:
        raise input_error("invalid_url", '"url" names no host.')


def read_body(response, deadline):
    """Return a response's body; raise InputError past MAX_DOWNLOAD_BYTES or the deadline."""
    if response.status != 200:
        raise input_error("upstream_status", f"The address answered HTTP {response.status}.")
    body = io.BytesIO()
    try:
        while chunk := response.read1(65536, decode_content=False):
            body.write(chunk)
            if body.tell() > MAX_DOWNLOAD_BYTES:
                raise input_error("too_large", f"The photo is larger than {MAX_DOWNLOAD_BYTES:,} bytes.")
            if time.monotonic() > deadline:
                raise input_error("fetch_timeout", f"The download took over {DOWNLOAD_SECONDS} seconds.")
    finally:
        response.close()
    return body.getvalue()


def decode(data):
    """Return the photo in `data` as an upright RGB PIL image; raise InputError if it holds none."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise input_error("too_many_pixels", f"The photo has over {MAX_PIXELS:,} pixels.") from None
    except DECODE_FAULTS:
        raise input_error("unsupported_format", f"The photo is none of {', '.join(FORMATS)}.") from None
    if image.width * image.height > MAX_PIXELS:
        raise input_error("too_many_pixels", f"The photo has over {MAX_PIXELS:,} pixels.")
    try:
        image.load()
    except DECODE_FAULTS as error:
        raise input_error("undecodable", "The photo is damaged and cannot be decoded.") from error
    if image.mode.startswith("I"):  # 16 bits of grey, which convert("RGB") would clip, not scale
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    with suppress(*DECODE_FAULTS):  # broken EXIF data do not harm the photo
        image = ImageOps.exif_transpose(image)
    return image.convert("RGB")
