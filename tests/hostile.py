"""Photos to test with: small ones of every kind, broken ones, and bombs."""

import io
import struct
import zlib
from functools import cache

from PIL import Image

SIDE = 24


def save(image, file_format, **options):
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(name, data=b""):
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def jpeg_segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def overlapping_exif(count, size):
    """Return `size` bytes of EXIF data with `count` entries that each refer to nearly all of the data."""
    entries = b"".join(struct.pack("<HHLL", number, 7, size - 1000, 8) for number in range(count))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries).ljust(size, b"\0")


def rle_bmp(width, data, height=1):
    """Return a run-length encoded BMP."""
    start = 54 + 1024
    header = struct.pack("<LHHL", start + len(data), 0, 0, start)
    header += struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + header + bytes(1024) + data


def many_scans(image, count):
    """Return a progressive JPEG whose last scan is repeated until there are `count` scans."""
    jpeg = save(image, "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (count - jpeg.count(b"\xff\xda\0")) + jpeg[-2:]


def disposed_gif(width, height):
    """Return a GIF whose only frame is disposed of to the background, an image that Pillow creates at once."""
    frame = struct.pack("<HHHHB", 0, 0, width, height, 0)
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"!\xf9\x04\x08\0\0\0\0," + frame + b"\x02\x02\x44\x01\0;"


def run_lengths(width, height):
    """Return the data of a run-length encoded BMP of one colour."""
    row = b"\xff\7" * (width // 255) + bytes([width % 255, 7]) * (width % 255 > 0)
    return (row + b"\0\0") * height + b"\0\1"


def turned_exif(size):
    """Return `size` bytes of EXIF data that turn a photo by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes().ljust(size, b"\0")


def largest(side, size):
    """Yield the photos of side × side pixels that need most memory, padded with metadata to about `size` bytes."""
    rgb = Image.new("RGB", (side, side), "navy")
    rgba = Image.new("RGBA", (side, side), (0, 0, 128, 127))
    for image in (rgb, rgb.convert("CMYK")):
        jpeg = save(image, "JPEG", progressive=True, subsampling=0)
        metadata = [turned_exif(100)] + [b"Exif\0\0" + bytes(65_000)] * ((size - len(jpeg)) // 65_100)
        yield jpeg[:2] + b"".join(jpeg_segment(0xE1, exif) for exif in metadata) + jpeg[2:]
    for image, file_format, options in [
        (rgba, "PNG", {}),
        (Image.new("I;16", rgb.size), "PNG", {}),
        (rgb, "WEBP", {"lossless": True, "method": 0}),
        (rgba, "WEBP", {"method": 0}),
        (rgb, "WEBP", {"method": 0, "save_all": True, "append_images": [Image.new("RGB", rgb.size)]}),
    ]:
        left = size - len(save(image, file_format, **options)) - 1000
        yield save(image, file_format, exif=turned_exif(left), **options)
    for photo in (save(rgb, "GIF"), save(rgb.convert("1"), "BMP"), rle_bmp(side, run_lengths(side, side), side)):
        yield photo.ljust(size, b"\0")


def nested_json(size):
    """Return about `size` bytes of the JSON that needs most memory: fifty times its size."""
    chain = "[" * 900 + "]" * 900
    return f"[{','.join([chain] * ((size - 2) // (len(chain) + 1)))}]"


RGB = Image.effect_noise((SIDE, SIDE), 60).convert("RGB")
JPEG, PNG, GIF, WEBP, BMP = (save(RGB, name) for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP"))
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><rect width='40' height='40'/></svg>"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
PNG_DATA = PNG.index(b"IDAT") - 4  # the end of the signature and the header
EXIF_IN_PARTS = overlapping_exif(60_000, 1_000_000)
EXIF_SEGMENTS = [
    jpeg_segment(0xE1, b"Exif\0\0" + EXIF_IN_PARTS[start : start + 60_000]) for start in range(0, 1_000_000, 60_000)
]


@cache
def photos():
    """Return {name: bytes} of good photos."""
    grey16 = Image.new("I;16", (SIDE, SIDE), 0x8080)
    result = {
        "1x1": save(Image.new("RGB", (1, 1), "navy"), "PNG"),
        "wide": save(Image.new("RGB", (5000, 1)), "PNG"),
        "16 bit": save(grey16, "PNG"),
        "CMYK": save(RGB.convert("CMYK"), "JPEG"),
        "grey JPEG": save(RGB.convert("L"), "JPEG"),
        "progressive": save(RGB, "JPEG", progressive=True),
        "a hundred scans": many_scans(RGB, 100),
        "two colours": save(RGB.convert("1"), "BMP"),
        "grey and transparency": save(RGB.convert("LA"), "PNG"),
        "transparency": save(RGB.convert("RGBA"), "WEBP"),
        "palette with transparency": save(RGB.quantize(8), "PNG", transparency=bytes([0, 128, 255])),
        "animated GIF": save(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)]),
        "animated WebP": save(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(90)]),
        "animated PNG": save(RGB, "PNG", save_all=True, append_images=[RGB.rotate(90)]),
        "broken EXIF": save(RGB, "PNG", exif=b"Exif\0\0MM\0+"),
        "overlapping EXIF": JPEG[:2] + jpeg_segment(0xE1, b"Exif\0\0" + overlapping_exif(5000, 65_000)) + JPEG[2:],
        "overlapping EXIF in parts": JPEG[:2] + b"".join(EXIF_SEGMENTS) + JPEG[2:],
        "overlapping EXIF in PNG": PNG[:PNG_DATA] + png_chunk(b"eXIf", EXIF_IN_PARTS) + PNG[PNG_DATA:],
        "overlapping MPF": JPEG[:2] + jpeg_segment(0xE2, b"MPF\0" + overlapping_exif(5000, 65_000)) + JPEG[2:],
        "text that calls itself EXIF": PNG[:PNG_DATA] + png_chunk(b"tEXt", b"exif\0hello") + PNG[PNG_DATA:],
        "run lengths": rle_bmp(4, b"\4\7\0\1"),
        "text behind the end": PNG + b"<?php",
    }
    return {**result, "JPEG": JPEG, "PNG": PNG, "GIF": GIF, "WebP": WEBP, "BMP": BMP}


@cache
def broken():
    """Return {name: (bytes, code)} of files that are not photos, or not whole ones."""
    wrong_sum = bytearray(PNG)
    wrong_sum[PNG.index(b"IEND") - 5] ^= 1
    huge = PNG[:16] + struct.pack(">LL", 30_000, 30_000) + PNG[24:29]
    huge += struct.pack(">L", zlib.crc32(huge[12:29])) + PNG[33:]
    gif = bytearray(GIF)
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    bmp = bytearray(BMP)
    bmp[18:26] = struct.pack("<ll", 6000, -6000)
    result = {
        "nothing": (b"", "unsupported_format"),
        "text": (b"no photo", "unsupported_format"),
        "SVG": (SVG, "unsupported_format"),
        "TIFF": (save(RGB, "TIFF"), "unsupported_format"),
        "ICO": (save(RGB, "ICO"), "unsupported_format"),
        "EPS": (save(RGB, "EPS"), "unsupported_format"),
        "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "unsupported_format"),
        "wrong checksum of the pixels": (bytes(wrong_sum), "undecodable"),
        "no pixels": (PNG[:PNG_DATA] + PNG[-12:], "undecodable"),
        "JPEG of many scans": (many_scans(RGB, 101), "undecodable"),
        "JPEG of many scans of many pixels": (many_scans(Image.new("L", (5000, 5000)), 21), "undecodable"),
        "arithmetic JPEG": (JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), "undecodable"),
        "one column of PNG": (save(Image.new("1", (1, 70_000)), "PNG"), "too_many_pixels"),
        "BMP of a large step": (rle_bmp(25_000_000, b"\0\2\0\0\xff\xff"), "too_many_pixels"),
        "BMP of a long line": (rle_bmp(25_000_000, b"\1\0\0\0\0\1"), "too_many_pixels"),
        "PNG bomb": (huge, "too_many_pixels"),
        "PNG of one pixel too many": (save(Image.new("1", (5000, 5001)), "PNG"), "too_many_pixels"),
        "GIF bomb": (bytes(gif), "too_many_pixels"),
        "GIF bomb with a background": (disposed_gif(13_300, 13_300), "too_many_pixels"),
        "BMP bomb": (bytes(bmp), "too_many_pixels"),
        "WebP bomb": (save(Image.new("RGB", (16_000, 1600)), "WEBP", method=0), "too_many_pixels"),
        "JPEG bomb": (save(Image.new("L", (5000, 5001)), "JPEG"), "too_many_pixels"),
    }
    for name, data in {"JPEG": JPEG, "PNG": PNG, "GIF": GIF, "WebP": WEBP, "BMP": BMP}.items():
        for part in (20, len(data) // 2):
            result[f"{part} bytes of a {name}"] = (data[:part], "undecodable")
    return result
