"""test.py, the client: which endpoint it asks, what it sends, how it fails."""

import base64
import json
import math
import os
import subprocess
import sys

import pytest
from conftest import ROOT, TROUSERS
from PIL import Image

import test as client
from tests.harness.servers import free_port

SCORES = {"hat": -1.5, "pants": 8.25}


@pytest.fixture
def api(photo_server):
    """A server that records in `received` what is POSTed to /predict, and gives `status` and `answer`."""

    def predict(request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        api.received.append(json.loads(body))
        api.keys.append(request.headers["x-api-key"])
        request.answer(api.status, json.dumps(api.answer).encode())

    api = photo_server
    api.answers["/predict"] = predict
    api.received, api.keys, api.status, api.answer = [], [], 200, SCORES
    return api


def run_client(*photos, cwd=None, **environ):
    """Run `python test.py` in a folder and return its exit status, output and errors."""
    command = [sys.executable, ROOT / "test.py", *map(str, photos)]
    clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    result = subprocess.run(command, cwd=cwd, env={**clean, **environ}, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, client.LOCAL_ENDPOINT),
        ({"AWS_REGION": "eu-west-1"}, client.LOCAL_ENDPOINT),
        (
            {"AWS_REGION": "eu-west-1", "API_NUMBER": "a1b2c3"},
            "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/test/predict",
        ),
        ({"PREDICT_URL": "http://here/", "AWS_REGION": "eu-west-1", "API_NUMBER": "a1b2c3"}, "http://here/"),
    ],
)
def test_the_endpoint_comes_from_the_environment(environ, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(client, "SAVED_ENDPOINT", tmp_path / "nothing")
    assert client.endpoint(environ) == expected


def test_the_endpoint_that_deploy_saved_is_used_before_localhost(monkeypatch, tmp_path):
    (tmp_path / "saved").write_text("https://saved/predict\n")
    monkeypatch.setattr(client, "SAVED_ENDPOINT", tmp_path / "saved")
    assert client.endpoint({}) == "https://saved/predict"


def test_without_arguments_the_photo_of_trousers_is_sent(api):
    status, output, errors = run_client(PREDICT_URL=api.url("/predict"))
    assert (status, errors) == (0, "")
    assert base64.b64decode(api.received[0]["image"]) == TROUSERS.read_bytes()
    *answer, best = output.splitlines()
    assert json.loads("\n".join(answer)) == SCORES
    assert best == "pants"


def test_the_key_of_the_api_is_sent(api):
    run_client(PREDICT_URL=api.url("/predict"))
    run_client(PREDICT_URL=api.url("/predict"), PREDICT_API_KEY="secret")
    assert api.keys == [None, "secret"]


def test_files_are_sent_as_base64_and_addresses_as_url(api):
    status, _, _ = run_client(TROUSERS, "https://example.com/hat.jpg", PREDICT_URL=api.url("/predict"))
    assert status == 0
    assert [list(request) for request in api.received] == [["image"], ["url"]]
    assert api.received[1]["url"] == "https://example.com/hat.jpg"


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (400, {"error": {"code": "invalid_url", "message": "No host."}}, "HTTP 400, invalid_url: No host."),
        (403, {"message": "Missing Authentication Token"}, "HTTP 403, error: Missing Authentication Token"),
        (200, {"errorType": "too_large", "errorMessage": "Too large."}, "too_large: Too large."),
        (502, "Bad Gateway", "HTTP 502"),
        (200, [1, 2], "[1, 2]"),
        (200, {}, "{}"),
        (200, {"message": "Forbidden"}, "Forbidden"),
        (200, {"error": {"code": "internal", "message": "Two\nlines."}}, "internal: Two lines."),
        (500, {"error": None}, "null"),
    ],
)
def test_an_error_of_the_server_is_one_line_and_a_failure(api, status, answer, words):
    api.status, api.answer = status, answer
    code, output, errors = run_client(PREDICT_URL=api.url("/predict"))
    assert (code, output) == (1, "")
    assert words in errors
    assert len(errors.splitlines()) == 1


def test_the_other_photos_are_still_asked_after_a_missing_file(api, tmp_path):
    status, output, errors = run_client(tmp_path / "no.jpg", TROUSERS, PREDICT_URL=api.url("/predict"))
    assert status == 1
    assert "no.jpg: No such file" in errors
    assert output.splitlines()[-1] == "pants"


def test_a_photo_that_is_too_large_to_send_is_one_line_and_a_failure(api, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(4_400_001))
    status, _, errors = run_client(tmp_path / "large.jpg", PREDICT_URL=api.url("/predict"))
    assert (status, len(errors.splitlines()), api.received) == (1, 1, [])
    assert "make it smaller" in errors


@pytest.mark.parametrize("url", ["no address", "http://a\u00e9..b/", "ftp://example.com"])
def test_an_endpoint_that_is_none_is_one_line_and_a_failure(url):
    status, output, errors = run_client(PREDICT_URL=url)
    assert (status, output, len(errors.splitlines())) == (1, "", 1)


def test_no_server_is_one_line_and_a_failure():
    status, output, errors = run_client(PREDICT_URL=f"http://127.0.0.1:{free_port()}/")
    assert (status, output) == (1, "")
    assert "make run" in errors
    assert len(errors.splitlines()) == 1


def test_an_answer_that_is_no_json_is_one_line_and_a_failure(api):
    status, _, errors = run_client(PREDICT_URL=api.url("/photo.jpg"))
    assert (status, len(errors.splitlines())) == (1, 1)


def test_probabilities_are_the_softmax_of_the_scores_the_likeliest_first():
    shares = client.probabilities({"hat": 0.0, "pants": 1000.0, "dress": 1000.0 + math.log(3)})
    assert list(shares) == ["dress", "pants", "hat"]
    assert list(shares.values()) == pytest.approx([0.75, 0.25, 0])


def test_photos_are_drawn_beside_their_probabilities(api, tmp_path):
    photos = [TROUSERS, api.url("/photo.jpg?size=large")]
    api.answers["/photo.jpg?size=large"] = api.answers["/photo.jpg"]
    status, output, errors = run_client("--plot", *photos, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert status == 0, errors
    assert output.splitlines()[-1] == "pants"
    for name in ("pants-1-scores.png", "photo-scores.png"):
        assert f"wrote {name}" in errors
        with Image.open(tmp_path / name) as plot:
            assert (plot.format, plot.size) == ("PNG", (1200, 600))
            assert len(plot.convert("RGB").getcolors(1 << 20)) > 1000  # a photo, not bars alone


def test_a_photo_that_cannot_be_drawn_is_one_line_and_a_failure(api, tmp_path):
    status, _, errors = run_client("--plot", __file__, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "cannot be drawn" in errors
    assert list(tmp_path.iterdir()) == []
