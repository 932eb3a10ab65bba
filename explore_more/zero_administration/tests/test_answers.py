"""The handler that answering() returns, called directly and through an HTTP API."""

import base64
import json

import pytest

from answers import ERRORS, RequestError, answering


@answering
def handler(request):
    if "fail" in request:
        raise ValueError("secret")
    if "code" in request:
        raise ERRORS[request["code"]]("Why.")
    return {"答": request}


def call(body, **more):
    answer = handler({"requestContext": {"http": {"method": "POST"}}, "body": body, **more}, None)
    assert answer["headers"]["Content-Type"] == "application/json"
    return answer["statusCode"], json.loads(answer["body"])


def test_a_direct_event_is_the_request():
    assert handler({"text": "我"}, None) == {"答": {"text": "我"}}


def test_a_request_over_http_is_its_body():
    assert call('{"text": "我"}') == (200, {"答": {"text": "我"}})
    assert call(base64.b64encode('{"text": "我"}'.encode()).decode(), isBase64Encoded=True) == (
        200,
        {"答": {"text": "我"}},
    )


@pytest.mark.parametrize("body", [None, "", "{", "我", "[" * 100_000, b"\xff".decode("latin-1")])
def test_a_body_that_is_not_json_is_refused(body):
    status, answer = call(body)
    assert (status, answer["error"]["code"]) == (400, "invalid_json")


def test_base64_that_is_none_is_refused():
    assert call("%%%", isBase64Encoded=True)[0] == 400


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "5"])
def test_json_that_is_no_object_is_refused(body):
    assert call(body)[1]["error"]["code"] == "unsupported_event"


def test_an_error_over_http_has_its_status_code_and_sentence():
    assert call('{"code": "text_too_long"}') == (413, {"error": {"code": "text_too_long", "message": "Why."}})


def test_an_error_of_a_direct_event_is_raised_by_its_name():
    with pytest.raises(RequestError, match="Why") as raised:
        handler({"code": "wrong_language"}, None)
    assert type(raised.value).__name__ == "wrong_language"


def test_who_must_wait_is_told_how_long():
    answer = handler({"body": '{"code": "model_not_ready"}'}, None)
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "5")


def test_a_fault_of_ours_is_told_to_the_log_alone(capsys):
    status, answer = call('{"fail": 1}')
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "secret" not in json.dumps(answer)
    assert "secret" in capsys.readouterr().out
