"""Reading and decoding the photo of a request, or refusing it with an error that says what to change."""

import contextlib
import io
import random
import struct
import subprocess
import sys

import hostile
import pytest
from conftest import LOCKED_PYTHONS, PHOTOS, ROOT, code_of, python_of
from hostile import save
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

import image_source
import limits
from errors import RequestError
from image_source import decode, read_photo


@pytest.mark.parametrize("file_format", image_source.FORMATS)
def test_every_format_is_loaded_before_the_first_photo(file_format, tmp_path):
    photo = tmp_path / "photo"
    photo.write_bytes(save(Image.new("RGB", (8, 8)), file_format))
    code = """
import sys, image_source
before = set(sys.modules)
image_source.decode(open(sys.argv[1], "rb").read())
sys.exit(len([name for name in set(sys.modules) - before if name.endswith("ImagePlugin")]))
"""
    subprocess.run([sys.executable, "-c", code, photo], cwd=ROOT, check=True)


def test_inline_photos_have_a_size_limit(monkeypatch):
    monkeypatch.setattr(limits, "MAX_INLINE_BYTES", 30)
    assert code_of(read_photo, {"image": "A" * 48}) == "too_large"
    assert read_photo({"image": "A" * 40}) == bytes(30)


@pytest.mark.parametrize("file_format", image_source.FORMATS)
def test_a_photo_is_decoded_by_its_content(file_format):
    decoded = decode(save(Image.new("RGB", (40, 30), "navy"), file_format))
    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty"),
        (hostile.HEIC, "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (save(hostile.RGB, "AVIF"), "AVIF"),
        (save(hostile.RGB, "TIFF"), "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (save(hostile.RGB, "PDF"), "PDF"),
        (hostile.SVG, "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a\nb -->\n" + hostile.SVG, "SVG"),
        (b"\n<!DOCTYPE html><svg>", "web page"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41", None),
        (b"no photo", None),
    ],
)
def test_what_people_send_instead_of_a_photo_is_called_by_its_name(data, name):
    with pytest.raises(RequestError) as caught:
        decode(data)
    assert type(caught.value).__name__ == "unsupported_format"
    named = [word for word in ("empty", "HEIC", "AVIF", "TIFF", "PDF", "SVG", "web page") if word in str(caught.value)]
    assert named == ([name] if name else [])


@pytest.mark.parametrize("name", hostile.photos())
def test_a_good_photo_is_decoded(name):
    assert decode(hostile.photos()[name]).mode == "RGB"


@pytest.mark.parametrize("name", hostile.broken())
def test_a_broken_photo_is_refused(name):
    data, code = hostile.broken()[name]
    assert code_of(decode, data) == code


def test_the_first_frame_of_an_animation_is_taken():
    for file_format in ("GIF", "PNG", "WEBP"):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("navy", "red")]
        animation = save(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert decode(animation).getpixel((0, 0)) == pytest.approx((0, 0, 128), abs=2)


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped():
    grey = Image.new("I;16", (8, 8), 128 * 257)
    assert decode(save(grey, "PNG")).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_photo_is_turned_upright_as_pillow_would(orientation, file_format):
    corners = Image.new("RGB", (40, 30), "navy")
    corners.paste("red", (0, 0, 10, 10))
    corners.paste("yellow", (30, 20, 40, 30))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = save(corners, file_format, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
    assert decode(photo).tobytes() == turned.tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "size"), image_source.INTEGERS.items())
def test_either_byte_order_and_every_size_of_exif_data_is_read(order, kind, size):
    tiff = struct.pack(order + "2sHLHHHL" + size, b"II" if order == "<" else b"MM", 42, 8, 1, 0x0112, kind, 1, 6)
    assert image_source.find_orientation(tiff) == 6


def test_exif_data_in_two_segments_are_put_together():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes()
    segments = [hostile.jpeg_segment(0xE1, b"Exif\0\0" + part) for part in (b"", data[6:20], data[20:])]
    photo = save(Image.new("RGB", (40, 30)), "JPEG")
    assert decode(photo[:2] + b"".join(segments) + photo[2:]).size == (30, 40)


def test_the_film_behind_a_photo_does_not_matter():
    assert decode(hostile.JPEG + random.Random(0).randbytes(9_000_000)).size == (hostile.SIDE, hostile.SIDE)


def test_no_photo_makes_pillow_write_to_the_log(recwarn):
    for data in [*hostile.photos().values(), *[data for data, _ in hostile.broken().values()]]:
        with contextlib.suppress(RequestError):
            decode(data)
    assert [str(warning.message) for warning in recwarn] == []


@given(st.binary(max_size=80))
def test_any_exif_data_have_an_orientation_or_none(data):
    for tiff in (data, b"II*\0\x08\0\0\0" + data, b"MM\0*\0\0\0\x08" + data):
        assert image_source.find_orientation(tiff) in (None, *range(1, 9))


@pytest.mark.parametrize(("kind", "size"), image_source.INTEGERS.items())
@pytest.mark.parametrize("value", [-1, 0, 9, 70_000])
def test_an_orientation_out_of_range_is_none(value, kind, size):
    value = struct.pack("<l", value)[: struct.calcsize("<" + size)]
    tiff = struct.pack("<2sHLHHHL", b"II", 42, 8, 1, 0x0112, kind, 1) + value
    assert image_source.find_orientation(tiff) is None


def test_decoding_is_given_up_after_its_time(monkeypatch):
    monkeypatch.setattr(limits, "DECODE_SECONDS", 0.01)
    start = hostile.PNG_DATA
    many = hostile.PNG[:start] + hostile.png_chunk(b"abCd") * 100_000 + hostile.PNG[start:]
    assert code_of(decode, many) == "undecodable"


def test_photos_with_changed_bytes_are_decoded_or_refused():
    """Every format and real photos, each with some bytes replaced, cut out or repeated."""
    chance = random.Random(0)
    originals = [*hostile.photos().values(), *[photo.read_bytes() for photo in PHOTOS[:3]]]
    seen = set()
    for _ in range(4000):
        data = bytearray(chance.choice([data for data in originals if len(data) < 100_000]))
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(min(len(data), chance.choice((40, 400, 100_000)))) if data else 0
            piece = chance.randbytes(chance.randint(0, 4)) + data[start : start + chance.choice((0, 0, 8))]
            data[start : start + chance.choice((1, 2, 4, 40))] = piece
        try:
            seen.add(decode(bytes(data)).mode)
        except RequestError as error:
            seen.add(type(error).__name__)
    assert seen == {"RGB", "undecodable", "unsupported_format", "too_many_pixels"}


@pytest.mark.parametrize("version", [version for version in LOCKED_PYTHONS if version != "3.14"])
def test_small_files_take_little_memory_on_any_python(version, tmp_path):
    """Overlapping values in metadata take gigabytes in Pillow before version 13, which Python 3.8 cannot run."""
    for name, data in hostile.photos().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "bomb").write_bytes(hostile.disposed_gif(13_300, 13_300))
    # ru_maxrss would begin with the memory of this process.
    code = """
import contextlib, errors, pathlib, re, sys, image_source
peak = lambda: int(re.search("VmHWM:\\\\s+([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1])
before = peak()
for photo in pathlib.Path(sys.argv[1]).iterdir():
    with contextlib.suppress(errors.RequestError):
        image_source.decode(photo.read_bytes())
print(peak() - before)
"""
    command = [python_of(version), "-c", code, tmp_path]
    assert int(subprocess.check_output(command, cwd=ROOT)) < 30_000  # KiB
