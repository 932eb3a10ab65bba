"""API Gateway's part on this machine: the function's answers, errors and CORS as AWS sends them, and the page."""

import http.client
import json
import time
from urllib.parse import urlsplit

import pytest
import requests
from conftest import GOOD, ROOT

from tests.harness.servers import free_port
from web import gateway
from web.gateway import FILES, Gateway

ORIGIN = "Access-Control-Allow-Origin"


@pytest.fixture
def standing_for(photo_server, serve):
    """Start a gateway to a function whose raw answers are given by a function of the event; return its address."""

    def start(function):
        def invoke(request):
            body = request.rfile.read(int(request.headers["Content-Length"]))
            request.answer(200, json.dumps(function(json.loads(body))).encode())

        photo_server.answers["/invocations"] = invoke
        server = serve(Gateway(0, photo_server.url("/invocations"), "https://example.com"))
        return f"http://127.0.0.1:{server.server_port}/predict"

    return start


def test_a_photo_gets_its_scores_which_any_page_may_read(site):
    answer = requests.post(f"{site}predict", json=GOOD, timeout=60)
    assert max(answer.json(), key=answer.json().get) == "pants"
    assert (answer.status_code, answer.headers[ORIGIN]) == (200, "*")
    assert answer.headers["Access-Control-Expose-Headers"] == "Server-Timing"
    assert "inference;dur=" in answer.headers["Server-Timing"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "missing_input"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"image": "QUJD"}', 415, "unsupported_format"),
        (b'{"url": "http://169.254.169.254/"}', 403, "address_not_allowed"),
    ],
)
def test_an_error_of_the_function_keeps_its_status_and_may_be_read(body, status, code, site):
    answer = requests.post(f"{site}predict", data=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers[ORIGIN] == "*"


def test_a_page_elsewhere_is_answered_as_the_template_says(site):
    answer = requests.options(f"{site}predict", timeout=60)
    assert (answer.status_code, answer.headers[ORIGIN]) == (204, "*")
    template = (ROOT / "template.yaml").read_text()
    for header in ("Methods", "Headers"):
        assert f"'{answer.headers[f'Access-Control-Allow-{header}']}'" in template


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "QUERY"])
def test_another_method_is_refused_as_aws_does(method, site):
    answer = requests.request(method, f"{site}predict", timeout=60)
    assert answer.status_code == 403
    assert method == "HEAD" or answer.json()["error"]["code"] == "MISSING_AUTHENTICATION_TOKEN"


@pytest.mark.parametrize("path", ["/serve.py", "/../Makefile", "/samples/../serve.py", "/%2e%2e/Makefile", "/samples/"])
def test_no_other_file_is_served(path, site):
    connection = http.client.HTTPConnection(urlsplit(site).netloc)
    connection.request("GET", path)
    assert connection.getresponse().status == 403


def test_the_page_its_samples_and_the_description_are_served(site):
    assert len(FILES) == 6
    for path, file in FILES.items():
        answer = requests.get(site + path[1:], timeout=60)
        assert (answer.status_code, answer.content) == (200, file.read_bytes())


@pytest.mark.parametrize("length", ["9999999", "-1", "many"])
def test_a_body_that_lambda_would_not_take_is_refused_unread(length, site):
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


def test_the_event_is_a_proxy_event(standing_for):
    def function(event):
        assert event["requestContext"]["httpMethod"] == event["httpMethod"] == "POST"
        content = {"body": event["body"], "query": event["queryStringParameters"]}
        return {"statusCode": 200, "headers": {"X-Custom": "yes"}, "body": json.dumps(content)}

    answer = requests.post(standing_for(function) + "?a=b", data="hü".encode(), timeout=60)
    assert answer.json() == {"body": "hü", "query": {"a": "b"}}
    assert answer.headers["X-Custom"] == "yes"


@pytest.mark.parametrize(
    "answer", [{"errorType": "internal"}, {"statusCode": 200}, {"statusCode": 200, "body": None}, None, []]
)
def test_a_function_that_answers_nonsense_is_a_502_that_a_page_may_read(answer, standing_for):
    answer = requests.post(standing_for(lambda event: answer), json=GOOD, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "DEFAULT_5XX")
    assert answer.headers[ORIGIN] == "https://example.com"


def test_a_function_that_is_gone_is_a_502(serve):
    server = serve(Gateway(0, f"http://127.0.0.1:{free_port()}/", "*"))
    assert requests.post(f"http://127.0.0.1:{server.server_port}/predict", json=GOOD, timeout=60).status_code == 502


def test_a_function_that_takes_too_long_is_a_504(standing_for, monkeypatch):
    monkeypatch.setattr(gateway, "TIMEOUT_SECONDS", 0.1)
    answer = requests.post(standing_for(lambda event: time.sleep(1)), json=GOOD, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "INTEGRATION_TIMEOUT")
