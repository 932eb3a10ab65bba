"""The downloader is a copy of the classifier's: this folder can be copied elsewhere and is still as safe."""

import http.server
import threading
from pathlib import Path

import pytest

import addresses
import limits
from download import download
from errors import RequestError

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
# Where the classifier's text speaks of photos, this one speaks of recordings.
WORDS = {
    'send the photo as "image"': 'send the recording as "audio"',
    "image/*": "audio/*, video/*",
    "clothing-classifier": "audio-enhancement",
    "photo": "recording",
}


@pytest.mark.skipif(not (ROOT / "image_source.py").exists(), reason="the classifier is in the repository")
@pytest.mark.parametrize("name", ["addresses.py", "download.py"])
def test_the_copy_is_up_to_date(name):
    text = (ROOT / name).read_text()
    for theirs, ours in WORDS.items():
        text = text.replace(theirs, ours)
    assert (FOLDER / name).read_text() == text


def serve(status, headers, body):
    """Return a server on loopback that answers every request in the same way."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_recording_is_downloaded_from_an_address(sample):
    server = serve(200, {"Content-Length": str(len(sample))}, sample)
    assert download(f"http://127.0.0.1:{server.server_port}/a.m4a") == sample
    server.shutdown()


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, "address_not_allowed"),
        (302, {"Location": "file:///etc/passwd"}, "unsupported_scheme"),
        (404, {}, "upstream_status"),
        (200, {"Content-Length": "999999999"}, "too_large"),
        (200, {"Content-Length": "10"}, "incomplete_body"),
    ],
)
def test_what_may_not_be_downloaded_is_refused(status, headers, code):
    server = serve(status, headers, b"short")
    with pytest.raises(RequestError) as caught:
        download(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    assert type(caught.value).__name__ == code


@pytest.mark.parametrize("url", ["http://10.0.0.1/a", "http://[::1]/a", "http://127.0.0.1/a", "ftp://example.com/a"])
def test_inside_aws_no_private_address_is_asked(url, monkeypatch):
    monkeypatch.setattr(limits, "ALLOW_LOOPBACK", False)
    with pytest.raises(RequestError) as caught:
        addresses.resolve(addresses.parse_url(url))
    assert type(caught.value).__name__ in ("address_not_allowed", "unsupported_scheme")
