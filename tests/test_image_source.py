"""Getting a photo: within limits, with an error that says what to change."""

import io
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image

import image_source
from image_source import InputError, decode, download, read_photo
from web.serve import free_port


def code_of(function, *arguments):
    """Return the code of the InputError that a call raises."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return type(caught.value).__name__


def save(image, file_format, **options):
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


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


def test_a_redirect_is_followed(photo_server):
    photo_server.answers["/old"] = lambda request: request.answer(302, Location="/photo.jpg")
    assert download(photo_server.url("/old")) == download(photo_server.url("/photo.jpg"))


def test_endless_redirects_are_given_up(photo_server):
    photo_server.answers["/loop"] = lambda request: request.answer(302, Location="/loop")
    assert code_of(download, photo_server.url("/loop")) == "too_many_redirects"


def test_a_redirect_to_a_file_is_refused(photo_server):
    photo_server.answers["/file"] = lambda request: request.answer(302, Location="file:///etc/passwd")
    assert code_of(download, photo_server.url("/file")) == "unsupported_scheme"


@pytest.mark.parametrize("location", ["http://[::1", "//[bad"])
def test_a_redirect_to_what_is_no_address_is_refused(location, photo_server):
    photo_server.answers["/bad"] = lambda request: request.answer(302, Location=location)
    assert code_of(download, photo_server.url("/bad")) == "invalid_url"


def test_a_status_other_than_200_is_named(photo_server):
    photo_server.answers["/missing"] = lambda request: request.answer(404)
    with pytest.raises(InputError, match="HTTP 404") as caught:
        download(photo_server.url("/missing"))
    assert type(caught.value).__name__ == "upstream_status"


def test_a_body_over_the_limit_is_not_read_to_its_end(photo_server, monkeypatch):
    monkeypatch.setattr(image_source, "MAX_DOWNLOAD_BYTES", 1000)
    assert code_of(download, photo_server.url("/photo.jpg")) == "too_large"


def test_a_body_shorter_than_declared_is_refused(photo_server):
    photo_server.answers["/short"] = lambda request: request.answer(200, b"abc", Content_Length=99)
    assert code_of(download, photo_server.url("/short")) == "incomplete_body"


def test_a_server_that_drips_is_left_at_the_deadline(photo_server, monkeypatch):
    def drip(request):
        request.answer(200, Content_Length=1000)
        for _ in range(1000):
            request.wfile.write(b"x")
            time.sleep(0.02)

    photo_server.answers["/drip"] = drip
    monkeypatch.setattr(image_source, "DOWNLOAD_SECONDS", 0.2)
    assert code_of(download, photo_server.url("/drip")) == "fetch_timeout"


def test_a_server_that_never_answers_is_left_at_the_deadline(monkeypatch):
    monkeypatch.setattr(image_source, "DOWNLOAD_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert code_of(download, f"http://127.0.0.1:{silent.getsockname()[1]}/") == "fetch_timeout"


def test_a_closed_port_is_a_failed_connection():
    assert code_of(download, f"http://127.0.0.1:{free_port()}/") == "connect_failed"


def test_an_unknown_host_is_named_as_such():
    assert code_of(download, "http://no-such-host.invalid/") == "dns_failed"


def test_a_server_without_tls_fails_the_handshake(photo_server):
    assert code_of(download, photo_server.url("/photo.jpg").replace("http:", "https:")) == "tls_failed"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "invalid_url"),
        (["http://example.com"], "invalid_url"),
        ("http://", "invalid_url"),
        ("http://[::1", "invalid_url"),
        ("http://example.com:port/", "invalid_url"),
        ("http://example.com/" + "a" * 2048, "invalid_url"),
        ("", "unsupported_scheme"),
        ("photo.jpg", "unsupported_scheme"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("data:image/png;base64,AAAA", "unsupported_scheme"),
    ],
)
def test_what_is_no_web_address_is_refused(url, code):
    assert code_of(read_photo, {"url": url}) == code


def test_inline_photos_have_a_size_limit(monkeypatch):
    monkeypatch.setattr(image_source, "MAX_INLINE_BYTES", 30)
    assert code_of(read_photo, {"image": "A" * 48}) == "too_large"
    assert read_photo({"image": "A" * 40}) == bytes(30)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_photo_is_decoded_by_its_content(file_format):
    photo = Image.new("RGB", (40, 30), "navy")
    decoded = decode(save(photo, file_format))
    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode):
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(save(Image.new(mode, (8, 8)), file_format)).mode == "RGB"


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped():
    grey = Image.new("I;16", (8, 8), 128 * 257)
    assert decode(save(grey, "PNG")).getpixel((0, 0)) == (128, 128, 128)


def test_broken_exif_data_do_not_harm_a_photo():
    photo = save(Image.new("RGB", (5, 5), "navy"), "PNG", exif=b"Exif\0\0MM\0+")
    assert decode(photo).getpixel((0, 0)) == (0, 0, 128)


def test_a_photo_is_turned_upright():
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn a quarter clockwise to view
    assert decode(save(Image.new("RGB", (40, 30)), "JPEG", exif=exif)).size == (30, 40)


def test_a_format_that_is_not_allowed_is_refused():
    assert code_of(decode, save(Image.new("RGB", (8, 8)), "TIFF")) == "unsupported_format"


def test_a_cut_off_photo_is_refused():
    noise = Image.effect_noise((80, 80), 50).convert("RGB")
    assert code_of(decode, save(noise, "PNG")[:3000]) == "undecodable"


def test_a_photo_with_too_many_pixels_is_refused_before_it_is_inflated():
    assert code_of(decode, save(Image.new("1", (10_000, 2_501)), "PNG")) == "too_many_pixels"
    assert code_of(decode, save(Image.new("1", (20_000, 10_000)), "PNG")) == "too_many_pixels"
