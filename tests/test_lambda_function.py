"""The handler's contract: events in, scores or errors out, one log line for each request."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TROUSERS, code_of, encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

import download
import image_source
import lambda_function
from errors import STATUS, RequestError
from lambda_function import CLASSES, lambda_handler
from tests.harness.servers import free_port

REST_EVENT = {"httpMethod": "POST", "path": "/predict", "requestContext": {"stage": "test"}, "isBase64Encoded": False}
HTTP_EVENT = {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "isBase64Encoded": False}


def test_the_answer_is_ten_plain_finite_floats_in_alphabetical_order(trousers):
    scores = lambda_handler(trousers, None)
    assert list(scores) == sorted(CLASSES) == CLASSES
    assert all(type(score) is float for score in scores.values())
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert max(scores, key=scores.get) == "pants"


@pytest.mark.parametrize("event", [REST_EVENT, HTTP_EVENT, {}], ids=["rest", "http", "body only"])
@pytest.mark.parametrize("is_base64", [False, True], ids=["text", "base64"])
def test_every_front_door_gives_the_same_scores(event, is_base64, trousers):
    body = json.dumps(trousers)
    proxy_event = {**event, "body": encode(body.encode()) if is_base64 else body, "isBase64Encoded": is_base64}
    response = lambda_handler(proxy_event, None)
    assert response["statusCode"] == 200
    assert response["headers"]["Content-Type"] == "application/json"
    assert json.loads(response["body"]) == lambda_handler(trousers, None)


def test_an_http_response_may_be_read_by_pages_of_the_origin_in_the_environment(trousers, monkeypatch):
    event = {"body": json.dumps(trousers)}
    assert "Access-Control-Allow-Origin" not in lambda_handler(event, None)["headers"]
    monkeypatch.setenv("CORS_ORIGIN", "https://example.com")
    for event in ({"body": json.dumps(trousers)}, {"body": "{"}):
        assert lambda_handler(event, None)["headers"]["Access-Control-Allow-Origin"] == "https://example.com"


def test_an_http_response_tells_how_long_its_parts_took_and_whether_the_start_was_one_of_them(trousers, monkeypatch):
    monkeypatch.setattr(lambda_function, "calls", itertools.count())
    cold, warm = (lambda_handler({"body": json.dumps(trousers)}, None)["headers"]["Server-Timing"] for _ in range(2))
    parts = r"download;dur=[\d.]+, decode;dur=[\d.]+, inference;dur=[\d.]+"
    assert re.fullmatch(f"cold, {parts}", cold)
    assert re.fullmatch(parts, warm)
    assert lambda_handler({"body": "{"}, None)["headers"]["Server-Timing"] == ""


def test_a_photo_by_address_scores_like_the_same_photo_inline(trousers, photo_server):
    assert lambda_handler({"url": photo_server.url("/photo.jpg")}, None) == lambda_handler(trousers, None)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({}, "missing_input"),
        ({"link": "https://example.com"}, "missing_input"),
        ({"url": "https://example.com", "image": "QUJD"}, "ambiguous_input"),
        ({"url": "file:///etc/passwd"}, "unsupported_scheme"),
        ({"url": 7}, "invalid_url"),
        ({"image": "no base64!"}, "invalid_base64"),
        ({"image": None}, "invalid_base64"),
        ({"image": encode(b"plain text")}, "unsupported_format"),
        ({"image": encode(TROUSERS.read_bytes()[:9000])}, "undecodable"),
        ({"Records": [{"eventSource": "aws:s3"}]}, "unsupported_event"),
        ({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}, "unsupported_event"),
        ([{"url": "https://example.com"}], "unsupported_event"),
        ("https://example.com", "unsupported_event"),
        (None, "unsupported_event"),
    ],
)
def test_a_bad_direct_event_raises_an_error_named_by_its_code(event, code):
    assert code_of(lambda_handler, event, None) == code


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (None, 400, "missing_input"),
        ("", 400, "missing_input"),
        ("{}", 400, "missing_input"),
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_json"),
        ("3", 400, "invalid_json"),
        ("[" * 100_000, 400, "invalid_json"),
        ('{"url": ' * 100_000, 400, "invalid_json"),
        ("9" * 10_000, 400, "invalid_json"),
        (b"{}", 400, "missing_input"),
        (7, 400, "invalid_json"),
        ({"url": "https://example.com"}, 400, "invalid_json"),
        ('{"url": "ftp://example.com/a.jpg"}', 400, "unsupported_scheme"),
        ('{"image": "QUJD"}', 415, "unsupported_format"),
    ],
)
def test_a_bad_body_gets_a_4xx_and_its_code(body, status, code):
    response = lambda_handler({**REST_EVENT, "body": body}, None)
    error = json.loads(response["body"])["error"]
    assert (response["statusCode"], error["code"]) == (status, code)


def test_what_an_event_nests_is_freed_before_a_photo_is_read(trousers, monkeypatch):
    kept = []
    monkeypatch.setattr(lambda_function, "read_photo", lambda request: kept.append(dict(request)) or b"")
    note = [[[]]]
    direct = {**trousers, "note": note, "notes": {"a": note}}
    proxy = {"body": json.dumps(direct), "requestContext": {"a": note}, "isBase64Encoded": False}
    for event in (direct, proxy, [note]):
        with contextlib.suppress(RequestError):
            lambda_handler(event, None)
    assert kept == [{"image": trousers["image"], "note": [], "notes": {}}, trousers]
    assert (note, proxy["requestContext"], event) == ([], {}, [])


def test_a_body_that_is_too_long_is_not_read(monkeypatch):
    monkeypatch.setattr(lambda_function.json, "loads", lambda body: pytest.fail("JSON takes fifty times its size"))
    body = "[" * (lambda_function.MAX_BODY_CHARACTERS + 1)
    for event in ({"body": body}, {"body": encode(body.encode()), "isBase64Encoded": True}):
        assert lambda_handler(event, None)["statusCode"] == 413


def test_a_body_that_claims_base64_and_is_none_gets_a_4xx():
    response = lambda_handler({**REST_EVENT, "body": "{}", "isBase64Encoded": True}, None)
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["error"]["code"] == "invalid_body"


def test_a_request_leaves_one_log_line_with_its_times_and_nothing_of_its_content(trousers, monkeypatch, capsys):
    class Context:
        aws_request_id = "request-1"

    monkeypatch.setattr(lambda_function, "calls", itertools.count(1))
    lambda_handler({"image": trousers["image"], "note": "secret"}, Context())
    (line,) = capsys.readouterr().out.splitlines()
    log = json.loads(line)
    assert set(log) == {"request_id", "start", "error", "download_ms", "decode_ms", "inference_ms"}
    assert (log["request_id"], log["start"], log["error"]) == ("request-1", "warm", None)
    assert all(log[name] >= 0 for name in ("download_ms", "decode_ms", "inference_ms"))


def test_the_first_request_logs_what_the_processor_can_do(trousers, monkeypatch, capsys):
    monkeypatch.setattr(lambda_function, "calls", itertools.count())
    monkeypatch.setattr(lambda_function, "instructions", lambda: ["AVX2"])
    for _ in range(2):
        lambda_handler(trousers, None)
    cold, warm = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (cold["start"], cold["processor"]) == ("cold", ["AVX2"])
    assert warm["start"] == "warm" and "processor" not in warm


@pytest.mark.parametrize(
    ("kind", "start"),
    [("on-demand", "cold"), ("provisioned-concurrency", "provisioned"), ("snap-start", "restored"), ("new", "cold")],
)
def test_the_first_request_tells_how_lambda_started_the_process(kind, start, trousers, monkeypatch, capsys):
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    monkeypatch.setattr(lambda_function, "calls", itertools.count())
    first, second = (lambda_handler({"body": json.dumps(trousers)}, None)["headers"]["Server-Timing"] for _ in range(2))
    assert [json.loads(line)["start"] for line in capsys.readouterr().out.splitlines()] == [start, "warm"]
    assert first.startswith(f"{start}, download;") and second.startswith("download;")


def test_a_refused_request_leaves_one_log_line_with_its_code(capsys):
    lambda_handler({**REST_EVENT, "body": '{"url": "gopher://secret.example"}'}, None)
    (line,) = capsys.readouterr().out.splitlines()
    log = json.loads(line)
    assert log["error"] == "unsupported_scheme"
    assert log["download_ms"] >= 0
    assert "secret" not in line


def test_the_cause_of_a_fault_of_the_function_is_for_the_log_alone(trousers, capfd, monkeypatch):
    def fail(X):
        raise OSError("a secret")

    monkeypatch.setattr(lambda_function, "model", fail)
    with pytest.raises(RequestError) as caught:
        lambda_handler(trousers, None)
    response = lambda_handler({"body": json.dumps(trousers)}, None)
    error = json.loads(response["body"])["error"]
    assert (response["statusCode"], error["code"]) == (500, type(caught.value).__name__) == (500, "internal")
    assert "secret" not in error["message"] + str(caught.value)
    output, errors = capfd.readouterr()
    assert [json.loads(line)["error"] for line in output.splitlines()] == ["internal"] * 2
    assert errors.count("OSError: a secret") == 2


def fail(*arguments, **options):
    """A bug of ours."""
    raise NameError("a secret")


BUG = f"NameError at {Path(__file__).name}:{fail.__code__.co_firstlineno + 2}"


def refuse(event, capfd):
    """Return the code of a refused event, its log line, and the rest of the log."""
    with pytest.raises(RequestError) as caught:
        lambda_handler(event, None)
    output, errors = capfd.readouterr()
    (line,) = output.splitlines()
    return type(caught.value).__name__, json.loads(line), errors


@pytest.mark.parametrize("place", [(image_source, "strip_jpeg"), (Image, "open"), (ImageFile.ImageFile, "load")])
def test_a_bug_that_looks_like_a_damaged_photo_is_named_in_the_log(place, trousers, capfd, monkeypatch):
    monkeypatch.setattr(*place, fail)
    code, log, errors = refuse(trousers, capfd)
    assert (code, log["error"], log["cause"]) == ("undecodable", "undecodable", BUG)
    assert "secret" not in str(log) + errors


@pytest.mark.parametrize("name", ["find_orientation", "turn_upright", "convert_to_rgb"])
def test_a_bug_behind_pillow_is_a_fault_of_the_function(name, trousers, capfd, monkeypatch):
    monkeypatch.setattr(image_source, name, fail)
    code, log, errors = refuse(trousers, capfd)
    assert code == log["error"] == "internal"
    assert "NameError: a secret" in errors


@pytest.mark.parametrize("name", ["parse_url", "resolve", "get_request", "read_head", "read_body"])
def test_a_bug_in_downloading_is_a_fault_of_the_function(name, photo_server, capfd, monkeypatch):
    monkeypatch.setattr(download, name, fail)
    code, log, errors = refuse({"url": photo_server.url("/photo.jpg")}, capfd)
    assert code == log["error"] == "internal"
    assert "NameError: a secret" in errors


def test_what_the_network_raised_is_named_in_the_log(photo_server, capfd):
    code, log, _ = refuse({"url": f"http://127.0.0.1:{free_port()}/"}, capfd)
    assert code == "connect_failed"
    assert re.fullmatch(r"ConnectionRefusedError at download\.py:\d+", log["cause"])
    code, log, _ = refuse({"url": photo_server.url("/").replace("http:", "https:")}, capfd)
    assert code == "tls_failed"
    assert re.fullmatch(r"SSLError at ssl\.py:\d+", log["cause"])


def test_what_lambda_tells_of_an_error_holds_no_trace():
    """The runtime client sends the frames below the handler's own."""
    for event in ({"image": "?"}, None):
        with pytest.raises(RequestError) as caught:
            lambda_handler(event, None)
        assert caught.traceback[-1].name == "lambda_handler"
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
)
KEYS = st.sampled_from(["url", "image", "body", "isBase64Encoded", "requestContext", "Records", "detail-type"])


@given(JSON | st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON).map(json.dumps)))
def test_any_event_is_refused_by_name_or_with_a_4xx(event):
    try:
        response = lambda_handler(event, None)
    except RequestError as error:
        status, code = error.status, type(error).__name__
    else:
        status, code = response["statusCode"], json.loads(response["body"])["error"]["code"]
    assert 400 <= status == STATUS[code] < 500


def test_the_function_never_imports_tensorflow():
    check = "import lambda_function, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.call([sys.executable, "-c", check], cwd=ROOT) == 0
