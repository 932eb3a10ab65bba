"""The handlers answer events with results and errors."""

import base64
import io
import json

import pytest
from recordings import decode, encode, tone, video

import jobs
import jobs_api
import lambda_function
import limits
import storage
from lambda_function import lambda_handler


@pytest.fixture(scope="module")
def short():
    """Half a second, an mp3, in base64."""
    return base64.b64encode(encode(tone(0.5, 44_100), 44_100, "mp3", "libmp3lame")).decode()


def proxy(content):
    return {"requestContext": {}, "body": content if isinstance(content, str) else json.dumps(content)}


def test_a_direct_event_is_answered_with_the_recording(short):
    answer = lambda_handler({"audio": short}, None)
    assert (answer["format"], answer["content_type"], answer["sample_rate"]) == ("mp3", "audio/mpeg", 44_100)
    assert decode(base64.b64decode(answer["audio"]))[1] == 44_100
    json.dumps(answer)


def test_a_proxy_event_is_answered_over_http(short):
    answer = lambda_handler(
        proxy({"audio": short, "format": "wav", "sample_rate": 8000, "attenuation_limit": 12}), None
    )
    assert answer["statusCode"] == 200
    content = json.loads(answer["body"])
    assert (content["format"], content["sample_rate"]) == ("wav", 8000)


@pytest.mark.parametrize(
    ("request_", "code", "status"),
    [
        ({}, "missing_input", 400),
        ({"audio": "AAAA", "url": "https://example.com"}, "ambiguous_input", 400),
        ({"audio": 5}, "invalid_base64", 400),
        ({"audio": "!"}, "invalid_base64", 400),
        ({"audio": "AAAA", "format": "exe"}, "invalid_option", 400),
        ({"audio": "AAAA", "format": ["wav"]}, "invalid_option", 400),
        ({"audio": "AAAA", "sample_rate": 1}, "invalid_option", 400),
        ({"audio": "AAAA", "sample_rate": True}, "invalid_option", 400),
        ({"audio": "AAAA", "attenuation_limit": 101}, "invalid_option", 400),
        ({"audio": "AAAA", "attenuation_limit": "6"}, "invalid_option", 400),
        ({"audio": "AAAA", "attenuation_limit": float("nan")}, "invalid_option", 400),
        ({"audio": "A" * 6_000_000}, "too_large", 413),
        ({"audio": "AAAA"}, "unsupported_format", 415),
        ({"audio": base64.b64encode(video()).decode()}, "no_audio", 422),
        ({"url": "http://10.0.0.1/"}, "address_not_allowed", 403),
        ({"bucket": "somebody-elses", "key": "uploads/a"}, "not_found", 404),
        ({"key": "results/a"}, "not_found", 404),
        ("[]", "invalid_json", 400),
        ("{", "invalid_json", 400),
    ],
)
def test_a_refusal_has_a_code_a_sentence_and_a_status(request_, code, status, capsys):
    answer = lambda_handler(proxy(request_), None)
    error = json.loads(answer["body"])["error"]
    assert (error["code"], answer["statusCode"]) == (code, status)
    assert error["message"].endswith(".")
    log = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert log["error"] == code and " in " in log["cause"]


def test_a_direct_event_raises_the_code(short):
    with pytest.raises(Exception, match="m4a") as caught:
        lambda_handler({"audio": "AAAA"}, None)
    assert type(caught.value).__name__ == "unsupported_format"


def test_after_every_refusal_the_function_still_answers(short):
    for data in (b"", b"RIFF", video(), encode(tone(1, 44_100), 44_100, "mp3", "libmp3lame")[:3000]):
        lambda_handler(proxy({"audio": base64.b64encode(data).decode()}), None)
    assert lambda_handler(proxy({"audio": short}), None)["statusCode"] == 200


def test_a_fault_of_ours_is_a_500_and_its_cause_is_in_the_log(short, monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(lambda_function, "enhance", broken)
    answer = lambda_handler(proxy({"audio": short}), None)
    assert answer["statusCode"] == 500 and "secret" not in answer["body"]
    printed = capsys.readouterr()
    assert "ZeroDivisionError in test_lambda_function.py:" in printed.out
    assert "ZeroDivisionError: a secret" in printed.err


def test_behind_api_gateway_a_long_recording_is_refused_at_once():
    data = base64.b64encode(encode(tone(limits.SYNC_SECONDS + 1, 8_000), 8_000, "ogg", "libopus")).decode()
    answer = lambda_handler(proxy({"audio": data}), None)
    assert json.loads(answer["body"])["error"]["code"] == "too_long"


def test_a_large_result_without_a_bucket_is_refused(monkeypatch, short):
    monkeypatch.setattr(limits, "MAX_INLINE_ANSWER_BYTES", 10)
    monkeypatch.setattr(storage, "BUCKET", None)
    answer = lambda_handler(proxy({"audio": short}), None)
    assert json.loads(answer["body"])["error"]["code"] == "too_large"


# What Lambda sends to an on-failure destination:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"errorMessage": "2026-01-01T00:00:00.000Z 5ab4 Task timed out after 600.00 seconds"}, "timed_out"),
        (
            {
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: 5ab4 Error: Task timed out after 600.00 seconds",
            },
            "timed_out",
        ),
        (
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: 5ab4 Error: Runtime exited with error: signal: killed",
            },
            "killed",
        ),
        (
            {
                "errorType": "Runtime.OutOfMemory",
                "errorMessage": "RequestId: 5ab4 Error: Runtime exited with error: signal: killed",
            },
            "killed",
        ),
        (None, "internal"),
    ],
)
def test_a_job_whose_function_was_ended_says_why(payload, code, monkeypatch):
    marked = []
    monkeypatch.setattr(jobs, "fail", lambda identifier, code, message: marked.append((identifier, code)))
    event = {
        "requestContext": {"condition": "RetriesExhausted"},
        "requestPayload": {"job": "j"},
        "responsePayload": payload,
    }
    jobs_api.lambda_handler(event, None)
    assert marked == [("j", code)]


@pytest.mark.parametrize("size", [0, -1, True, "5", None, limits.MAX_OBJECT_BYTES + 1])
def test_an_upload_has_a_size(size):
    event = {"requestContext": {"http": {"method": "POST"}}, "body": json.dumps({"upload": size})}
    assert jobs_api.lambda_handler(event, None)["statusCode"] == 413


def test_a_file_object_of_the_answer_is_whole(short):
    answer = lambda_handler({"audio": short, "format": "flac"}, None)
    data = base64.b64decode(answer["audio"])
    assert data[:4] == b"fLaC" and decode(io.BytesIO(data).getvalue())[0].size
