"""Read the photo of a request from a URL or from base64, and decode it, within limits."""

import base64
import io
import re
import struct
import warnings
from time import monotonic

import numpy as np
from PIL import Image, WebPImagePlugin  # noqa: F401

import limits
from download import download
from errors import RequestError, request_error

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_SIDE = 65_535  # as in JPEG; some decoders need time or memory for each row, even if it is short
# Each scan of a progressive JPEG takes a pass over all pixels. Encoders write ten scans, or eighteen for CMYK.
MAX_SCANS = 100
MAX_SCANS_OF_MAX_PIXELS = 20
JPEG_START = b"\xff\xd8"
SCAN_START = b"\xff\xda\0"

# Each EXIF orientation that needs it, with the operation that turns such a photo upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Other things that people send: a pattern for the first bytes, a name, and what to do instead.
OTHERS = [
    (rb".{4}ftyp.{0,32}?avi[fs]", "an AVIF photo", "export it as JPEG"),
    (rb".{4}ftyp.{0,32}?(hei[cmsx]|hev[cmsx]|mif1|msf1)", "a HEIC photo, as iPhones make", "export it as JPEG"),
    (rb"II\*\0|MM\0\*", "a TIFF photo", "export it as JPEG"),
    (rb"%PDF-", "a PDF document", "export the photo in it as JPEG"),
    (rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)\b", "a web page", "send the address of the photo itself"),
    (rb"(\xef\xbb\xbf)?\s*<([?!].{0,1000}?<)?svg\b", "an SVG drawing", "export it as JPEG"),
]

# Load Pillow's decoders now and not with the first photo. This call loads all but WebP's, which is imported above.
Image.preinit()
# Pillow checks this limit itself whenever it creates an image, even before `load` below sees the size.
Image.MAX_IMAGE_PIXELS = limits.MAX_PIXELS


def read_photo(request):
    """Return the bytes of the photo in {"url": …} or {"image": base64}; raise RequestError."""
    if "url" in request and "image" in request:
        raise request_error("ambiguous_input", 'Send "url" or "image", not both.')
    if "url" in request:
        return download(request["url"])
    if "image" in request:
        return decode_base64(request["image"])
    raise request_error("missing_input", 'Send {"url": "https://…"} or {"image": "<base64>"}.')


def decode_base64(text):
    """Return the bytes in a base64 string, at most MAX_INLINE_BYTES; raise RequestError."""
    if not isinstance(text, str):
        raise request_error("invalid_base64", '"image" must be a string of base64.')
    if len(text) > limits.MAX_INLINE_BYTES * 4 // 3 + 4:
        message = f'The photo in "image" may have at most {limits.MAX_INLINE_BYTES:,} bytes; send a smaller one.'
        raise request_error("too_large", message)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise request_error("invalid_base64", '"image" must be standard base64 on one line.') from None


class TimedFile(io.BytesIO):
    """Bytes in memory that raise RequestError when Pillow still reads them after DECODE_SECONDS."""

    def __init__(self, data):
        super().__init__(data)
        self.deadline = monotonic() + limits.DECODE_SECONDS

    def read(self, size=-1):
        if monotonic() > self.deadline:
            message = f"The photo takes more than {limits.DECODE_SECONDS:g} seconds to decode; send a smaller one."
            raise request_error("undecodable", message)
        return super().read(size)


def decode(data):
    """Return the photo in `data` as an upright RGB PIL image; raise RequestError if there is none."""
    if not any(Image.OPEN[name][1](data[:16]) for name in FORMATS):
        raise request_error("unsupported_format", name_format(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings would fill the log
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image, exif = load(data)
        except RequestError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            message = f"The photo has over {limits.MAX_PIXELS:,} pixels, or over {MAX_SIDE:,} on a side; scale it down."
            raise request_error("too_many_pixels", message) from None
        except Exception as error:  # on broken bytes, Pillow's decoders raise exceptions of any kind; the log names it
            message = "The photo is damaged and cannot be decoded; save or export it again."
            raise request_error("undecodable", message) from error
        image = turn_upright(image, exif)
        return convert_to_rgb(image)


def name_format(data):
    """Return a sentence for the caller about data in an unsupported format: what they seem to be, and what to do."""
    if not data:
        return "The photo is empty; it has no bytes."
    for start, name, advice in OTHERS:
        if re.match(start, data[:1100], re.DOTALL | re.IGNORECASE):
            return f"This is {name}; {advice}."
    return f"The photo is none of {', '.join(FORMATS)}."


def load(data):
    """Return the PIL image in `data`, with its pixels decoded, and its EXIF data."""
    exif, scans = None, 0
    if data.startswith(JPEG_START):
        scans = data.count(SCAN_START)
        data, exif = strip_jpeg(data)
    file = TimedFile(data)
    image = Image.open(file, formats=FORMATS)
    if max(image.size) > MAX_SIDE:
        raise Image.DecompressionBombError
    if scans > min(MAX_SCANS, MAX_SCANS_OF_MAX_PIXELS * limits.MAX_PIXELS / (image.width * image.height)):
        raise ValueError("too many scans")
    if image.format == "PNG":
        image.verify()  # the only check of the checksums; the image cannot be used after it
        image = Image.open(file, formats=FORMATS)
    image.load()
    return image, exif or image.info.get("exif")


def turn_upright(image, exif):
    """Return an image turned upright as its EXIF data say, or unchanged if they do not say how."""
    exif = exif if isinstance(exif, bytes) else b""
    turn = TURNS.get(find_orientation(exif[6:] if exif.startswith(b"Exif") else exif))
    return image if turn is None else image.transpose(turn)


def convert_to_rgb(image):
    """Return an image in RGB. Scale 16 bits of grey to 8, because Pillow would clip them."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


# The rest of this file is for Pillow before version 13, which Python 3.8 to 3.11 use. It reads all metadata before it
# decodes anything, which takes gigabytes if their values overlap. In newer versions, image.getexif()[0x0112] is enough.
MAX_SEGMENTS = 10_000
# The segments that decoding needs: frames, tables, and the colour spaces in the JFIF and Adobe segments.
# Segments of arithmetic coding (0xC9 and above) are left out, because it is rare and slow.
JPEG_SEGMENTS = {0xDB, 0xDD, 0xE0, 0xEE, *range(0xC0, 0xC8)}
JPEG_MARKERS = {0x00, 0x01, 0xFF, *range(0xD0, 0xDA)}  # markers without a segment
INTEGERS = {3: "H", 4: "L", 8: "h", 9: "l"}  # EXIF value types, as `struct` formats


def strip_jpeg(jpeg):
    """Return (JPEG without its metadata, its EXIF data); raise ValueError or IndexError."""
    kept, exif, position = [jpeg[:2]], [], 2
    for _ in range(MAX_SEGMENTS):
        start = jpeg.index(b"\xff", position)
        position, marker = start + 1, jpeg[start + 1]
        if marker == 0xDA:
            return b"".join([*kept, jpeg[start:]]), b"".join(exif)
        if marker in JPEG_MARKERS:
            continue
        position += 1 + max(2, int.from_bytes(jpeg[start + 2 : start + 4], "big"))
        segment = jpeg[start:position]
        if marker in JPEG_SEGMENTS:
            kept.append(segment)
        elif marker == 0xE1 and segment[4:8] == b"Exif":
            exif.append(segment[10:])
    raise ValueError(f"more than {MAX_SEGMENTS} segments")


def find_orientation(tiff):
    """Return the orientation (1 to 8) in the TIFF structure of EXIF data, or None.

    https://www.cipa.jp/std/documents/download_e.html?CIPA_DC-008-2024-E, 4.6.2 and 4.6.5
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "=")
    try:
        (start,) = struct.unpack_from(order + "L", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for number in range(count):
            tag, kind = struct.unpack_from(order + "HH", tiff, start + 2 + 12 * number)
            if tag == 0x0112:
                (orientation,) = struct.unpack_from(order + INTEGERS[kind], tiff, start + 10 + 12 * number)
                return orientation if 1 <= orientation <= 8 else None
    except (struct.error, KeyError):
        pass
    return None
