"""The classifier in Google's functions framework, called over HTTP."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness.servers import free_port, stop, wait_until_open

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = sorted((ROOT / "tests/photos").glob("*/*.jpg"))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of the function."""
    port = free_port()
    command = [Path(sys.executable).with_name("functions-framework"), "--source", "main.py", "--target", "classify"]
    with (tmp_path_factory.mktemp("google") / "log").open("w") as log:
        server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)
        try:
            wait_until_open(port, server)
            yield f"http://127.0.0.1:{port}/"
        finally:
            stop(server)


def post(url, body):
    """Return the status, content type and JSON of the answer."""
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["Content-Type"], json.load(answer)


def classify(url, photo):
    """Return the scores of a photo."""
    status, kind, scores = post(url, json.dumps({"image": base64.b64encode(photo.read_bytes()).decode()}))
    assert (status, kind) == (200, "application/json")
    return scores


def test_a_photo_gets_ten_scores(url):
    scores = classify(url, ROOT / "tests/photos/pants/pants-1.jpg")
    assert len(scores) == 10
    assert max(scores, key=scores.get) == "pants"


def test_photos_that_come_at_once_get_the_scores_that_they_get_alone(url):
    alone = [classify(url, photo) for photo in PHOTOS]
    with ThreadPoolExecutor(len(PHOTOS)) as pool:
        assert list(pool.map(classify, [url] * len(PHOTOS), PHOTOS)) == alone


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_json"),
        ("{}", 400, "missing_input"),
        ('{"image": "AAAA"}', 415, "unsupported_format"),
        ('{"url": "http://169.254.169.254/"}', 403, "address_not_allowed"),
    ],
)
def test_an_error_keeps_its_status_and_code(url, body, status, code):
    answered, kind, answer = post(url, body)
    assert (answered, kind, answer["error"]["code"]) == (status, "application/json", code)
