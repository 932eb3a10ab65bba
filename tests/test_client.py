"""Test test.py, the client: the endpoint it asks, and what it sends, prints and reports as errors."""

import base64
import io
import json
import math
import os
import pty
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, TROUSERS, logits_of
from hostile import RGB, save
from PIL import Image, ImageOps

import image_source
import limits
import test as client
from tests.harness.servers import free_port

SCORES = {"hat": -1.5, "pants": 8.25}
TEMPERATURE, UNSURE_BELOW = client.read_calibration()
UNSURE = logits_of(UNSURE_BELOW - 0.02, TEMPERATURE)


@pytest.fixture
def api(photo_server):
    """A server that answers POST /predict with `status` and `answer`, and records requests in `received` and `keys`."""

    def predict(request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        api.received.append(json.loads(body))
        api.keys.append(request.headers["x-api-key"])
        request.answer(api.status, json.dumps(api.answer).encode())

    api = photo_server
    api.answers["/predict"] = predict
    api.received, api.keys, api.status, api.answer = [], [], 200, SCORES
    return api


def run_client(*photos, cwd=None, script=ROOT / "test.py", **environ):
    """Run `python test.py` and return its exit status, output and errors."""
    command = [sys.executable, script, *map(str, photos)]
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
        (403, {"Message": "Forbidden"}, "HTTP 403, error: Forbidden"),
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
    assert output.split() == [str(TROUSERS), "pants", "over", "99", "%"]


def test_a_file_that_cannot_be_sent_is_one_line_and_a_failure(api, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(4_400_001))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("large.jpg", "cannot be read as a photo to make it smaller"),
        ("empty.jpg", "the file is empty"),
        ("folder", "the folder contains no photos"),
    ):
        status, output, errors = run_client(tmp_path / name, PREDICT_URL=api.url("/predict"))
        assert (status, output, len(errors.splitlines()), api.received) == (1, "", 1, [])
        assert words in errors


def test_it_knows_the_limits_of_the_function():
    for name, module in (
        ("FORMATS", image_source),
        ("MAX_SIDE", image_source),
        ("MAX_INLINE_BYTES", limits),
        ("MAX_PIXELS", limits),
    ):
        assert getattr(client, name) == getattr(module, name)


def sent_photo(api):
    """Return the last photo that the server received."""
    return Image.open(io.BytesIO(base64.b64decode(api.received[-1]["image"])))


@pytest.mark.parametrize("turned", [False, True])
def test_a_photo_over_the_limits_is_scaled_down_and_stays_upright(turned, api, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    upright = Image.open(TROUSERS).convert("RGB").resize((4800, 6400))
    stored = upright.transpose(Image.Transpose.ROTATE_90) if turned else upright
    stored.save(tmp_path / "large.jpg", exif=exif)
    assert run_client(tmp_path / "large.jpg", PREDICT_URL=api.url("/predict"))[0] == 0
    sent = sent_photo(api)
    assert (sent.format, sent.size, sent.getexif()) == ("JPEG", (1200, 1600), {})
    small = ImageOps.contain(upright, (60, 80))
    difference = Image.eval(Image.blend(small, ImageOps.invert(sent.resize(small.size)), 0.5), lambda x: abs(x - 127))
    assert max(high for _, high in difference.getextrema()) < 40


def test_a_format_that_the_function_does_not_take_is_sent_as_jpeg(api, tmp_path):
    transparent = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    tall = save(Image.new("1", (1, 70_000)), "PNG")
    for name, data in {"a.tiff": save(RGB, "TIFF"), "tall.png": tall, "b.tiff": save(transparent, "TIFF")}.items():
        (tmp_path / name).write_bytes(data)
        run_client(tmp_path / name, PREDICT_URL=api.url("/predict"))
        assert (sent_photo(api).format, sent_photo(api).mode) == ("JPEG", "RGB")
    assert sent_photo(api).getpixel((0, 0)) == (255, 255, 255)


def test_what_pillow_cannot_read_is_left_to_the_function(api, tmp_path):
    (tmp_path / "a.heic").write_bytes(b"....ftypheic")
    run_client(tmp_path / "a.heic", PREDICT_URL=api.url("/predict"))
    assert base64.b64decode(api.received[0]["image"]) == b"....ftypheic"


def test_folders_and_patterns_are_photos_in_order(api, tmp_path):
    for name in ("b/2.jpg", "b/c/1.PNG", "b/notes.txt", "b/.hidden/3.jpg", "a1.jpg", "a2.jpg", "[x].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TROUSERS, tmp_path / name)
    names = ["b", "a*.jpg", "[x].jpg", "z*.jpg"]
    status, output, errors = run_client(*names, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert [line.split()[0] for line in output.splitlines()] == ["b/2.jpg", "b/c/1.PNG", "a1.jpg", "a2.jpg", "[x].jpg"]
    assert (status, errors) == (1, "test.py: z*.jpg: No such file or directory\n")


def test_several_photos_get_a_line_each(api, tmp_path):
    shutil.copy(TROUSERS, tmp_path / "long-name.jpg")
    url = "https://example.com/a"
    _, output, _ = run_client(url, "long-name.jpg", cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert output == "https://example.com/a  pants  over 99 %\nlong-name.jpg          pants  over 99 %\n"


def test_one_photo_that_is_not_recognised_says_so_beside_the_scores(api):
    api.answer = UNSURE
    status, output, errors = run_client(TROUSERS, PREDICT_URL=api.url("/predict"))
    assert json.loads(output.rpartition("}")[0] + "}") == UNSURE
    assert output.splitlines()[-1] == "dress"
    assert (status, errors) == (0, f"test.py: not sure, perhaps dress  {100 * (UNSURE_BELOW - 0.02):.0f} %\n")


def test_machines_get_an_object_on_each_line(api, tmp_path):
    status, output, errors = run_client("--json", TROUSERS, "no.jpg", PREDICT_URL=api.url("/predict"))
    api.answer = UNSURE
    _, unsure, _ = run_client("--json", TROUSERS, PREDICT_URL=api.url("/predict"))
    good, missing = map(json.loads, output.splitlines())
    assert (status, errors) == (1, "")
    assert good == {"photo": str(TROUSERS), "class": "pants", "probability": 1.0, "sure": True, "scores": SCORES}
    assert missing == {"photo": "no.jpg", "error": "no.jpg: No such file or directory"}
    assert json.loads(unsure)["sure"] is False
    assert json.loads(unsure)["probability"] == pytest.approx(UNSURE_BELOW - 0.02, abs=1e-4)


def test_without_a_temperature_there_are_no_probabilities(api, tmp_path):
    script = shutil.copy(ROOT / "test.py", tmp_path)
    for metrics in (None, "{}", "no JSON"):
        if metrics:
            (tmp_path / "metrics.json").write_text(metrics)
        status, output, errors = run_client(TROUSERS, TROUSERS, script=script, PREDICT_URL=api.url("/predict"))
        assert (status, output, errors) == (0, f"{TROUSERS}  pants\n" * 2, "")
    _, output, _ = run_client("--json", TROUSERS, script=script, PREDICT_URL=api.url("/predict"))
    assert json.loads(output) == {"photo": str(TROUSERS), "class": "pants", "scores": SCORES}
    status, _, errors = run_client("--plot", TROUSERS, script=script, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert status == 1
    assert "without the temperature in metrics.json" in errors


def test_a_terminal_is_shown_how_far_it_is(api):
    reader, writer = pty.openpty()
    command = [sys.executable, ROOT / "test.py", TROUSERS, TROUSERS]
    environ = {**os.environ, "PREDICT_URL": api.url("/predict")}
    subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=writer, check=True)
    os.close(writer)
    drawn = os.read(reader, 10_000).decode()
    os.close(reader)
    assert "[###############               ] 1 of 2" in drawn
    assert drawn.endswith("\r\033[K")


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
    scores = {"hat": 0.0, "pants": 1000.0, "dress": 1000.0 + math.log(3)}
    for temperature, expected in ((1, [0.75, 0.25, 0]), (0.5, [0.9, 0.1, 0])):
        shares = client.probabilities(scores, temperature)
        assert list(shares) == ["dress", "pants", "hat"]
        assert list(shares.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("probability", "words"), [(0.931, "93 %"), (0.994, "99 %"), (0.996, "over 99 %"), (1, "over 99 %")]
)
def test_no_class_is_called_certain(probability, words):
    assert client.percent(probability) == words


def test_photos_are_drawn_beside_their_probabilities(api, tmp_path):
    photos = [TROUSERS, api.url("/photo.jpg?size=large")]
    api.answers["/photo.jpg?size=large"] = api.answers["/photo.jpg"]
    status, output, errors = run_client("--plot", *photos, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert status == 0, errors
    assert [line.split()[1] for line in output.splitlines()] == ["pants", "pants"]
    for name in ("pants-1-scores.png", "photo-scores.png"):
        assert f"wrote {name}" in errors
        with Image.open(tmp_path / name) as plot:
            assert (plot.format, plot.size) == ("PNG", (1200, 600))
            assert len(plot.convert("RGB").getcolors(1 << 20)) > 1000  # the plot shows the photo, too


def test_a_photo_that_cannot_be_drawn_is_one_line_and_a_failure(api, tmp_path):
    status, _, errors = run_client("--plot", __file__, cwd=tmp_path, PREDICT_URL=api.url("/predict"))
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "cannot make the plot" in errors
    assert list(tmp_path.iterdir()) == []
