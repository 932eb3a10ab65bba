"""Test the two ports of `make run`: who may send requests, how they queue, and whether answers match API Gateway's."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
import requests
from conftest import GOOD, ROOT
from waitress import wasyncore

from tests.harness.servers import free_port
from web.function import Function
from web.gateway import FILES, Gateway
from web.server import BOUNDS, Server, make_application

ORIGIN = "Access-Control-Allow-Origin"
ELSEWHERE = "https://example.com"


@pytest.fixture
def listen():
    """Serve a function of the WSGI environment on a free port; return its address."""
    servers = []

    def start(answer, cors_origin=ELSEWHERE):
        server = Server(0, make_application(answer, cors_origin))
        thread = Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.effective_port}"

    yield start
    for server, thread in servers:
        server.trigger.pull_trigger(lambda server=server: wasyncore.close_all(server._map))
        thread.join()
        server.task_dispatcher.shutdown()


@pytest.fixture
def standing_for(photo_server, listen):
    """Start a gateway whose function is replaced by a Python function of the event; return the gateway's address."""

    def start(function):
        def invoke(request):
            body = request.rfile.read(int(request.headers["Content-Length"]))
            request.answer(200, json.dumps(function(json.loads(body))).encode())

        photo_server.answers["/invocations"] = invoke
        return listen(Gateway(Function(photo_server.url("/invocations")), ELSEWHERE).answer) + "/predict"

    return start


@pytest.fixture(params=["page", "function"])
def address(request, addresses):
    """The address to POST a photo to: once on the page's port, once on Lambda's."""
    return {"page": f"{addresses[0]}predict", "function": addresses[1]}[request.param]


def send(url, data, wait=30):
    """Send raw bytes to a URL's host; return everything that it sends until it closes the connection."""
    host = urlsplit(url)
    with socket.create_connection((host.hostname, host.port), timeout=wait) as client:
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


def read(answer):
    """Return the status and the error code of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_fifty_requests_at_once_get_their_scores(addresses):
    def ask(url):
        answer = requests.post(url, json=GOOD, timeout=60)
        return answer.status_code, max(answer.json(), key=answer.json().get)

    page, function = f"{addresses[0]}predict", addresses[1]
    with ThreadPoolExecutor(50) as threads:
        for urls in ([page] * 50, [function] * 50, [page, function] * 25):
            assert set(threads.map(ask, urls)) == {(200, "pants")}


def test_the_function_is_asked_once_at_a_time_and_a_long_queue_is_a_503(standing_for, monkeypatch):
    monkeypatch.setattr("web.function.MAX_WAITING", 3)
    running, most, go = [], [], Event()

    def slow(event):
        running.append(1)
        most.append(len(running))
        go.wait()
        running.pop()
        return {"statusCode": 200, "headers": {}, "body": "{}"}

    url = standing_for(slow)
    with ThreadPoolExecutor(10) as threads:
        answers = [threads.submit(requests.post, url, json=GOOD, timeout=60) for _ in range(10)]
        done = as_completed(answers)
        refusals = [next(done).result() for _ in range(7)]
        go.set()
        assert [answer.result().status_code for answer in done] == [200] * 3
    assert max(most) == 1
    for refusal in refusals:
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(refusal.headers["Retry-After"]) > 0
        assert refusal.headers[ORIGIN] == ELSEWHERE


def test_a_request_whose_turn_does_not_come_is_a_503_and_is_never_asked(standing_for, monkeypatch):
    monkeypatch.setattr("web.function.TURN_SECONDS", 0.2)
    asked, go = [], Event()

    def slow(event):
        asked.append(event["body"])
        go.wait()
        return {"statusCode": 200, "headers": {}, "body": "{}"}

    url = standing_for(slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(requests.post, url, data="first", timeout=60)
        while not asked:
            time.sleep(0.01)
        assert requests.post(url, data="second", timeout=60).status_code == 503
        go.set()
        assert first.result().status_code == 200
    assert requests.post(url, data="third", timeout=60).status_code == 200
    assert asked == ["first", "third"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:{port}",
        "127.0.0.1:{port}@evil.example",
        "evil.example@127.0.0.1:{port}",
        "127.0.0.1:{port}, evil.example",
        "127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}",
        "127.0.0.1:{port}\r\nHost: evil.example",
        "127.0.0.1:{port}.",
        "127.0.0.2:{port}",
        "localhost",
        "localhost:1",
        "[::1",
        "http://localhost:{port}",
        "",
    ],
)
def test_a_name_that_a_foreign_dns_server_made_lead_here_is_refused(host, address):
    url = urlsplit(address)
    lines = f"POST {url.path} HTTP/1.1\r\nHost: {host.format(port=url.port)}\r\nConnection: close\r\n\r\n"
    assert read(send(address, lines.encode())) == (403, "ACCESS_DENIED")


def test_a_request_without_a_host_is_refused(address):
    path = urlsplit(address).path
    assert read(send(address, f"POST {path} HTTP/1.0\r\n\r\n".encode())) == (403, "ACCESS_DENIED")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_the_names_of_this_machine_are_answered(host, address):
    headers = {"Host": f"{host}:{urlsplit(address).port}"}
    assert requests.post(address, json=GOOD, headers=headers, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost:1",
        "http://localhost:{port}.evil.example",
        "localhost:{port}",
        "",
    ],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_another_sites_page_is_refused_and_told_how_to_let_it_in(method, origin, address, photo_server):
    asked = []
    photo_server.answers["/inside"] = lambda request: asked.append(1)
    headers = {"Origin": origin.format(port=urlsplit(address).port), "Content-Type": "text/plain"}
    data = json.dumps({"url": photo_server.url("/inside")})
    answer = requests.request(method, address, data=data, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ACCESS_DENIED")
    assert "CORS_ORIGIN=" in answer.json()["error"]["message"]
    assert answer.headers[ORIGIN] not in (headers["Origin"], "*")
    assert not asked


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_pages_own_origin_is_answered(host, site, addresses):
    origin = f"http://{host}:{urlsplit(site).port}"
    answer = requests.post(f"{origin}/predict", json=GOOD, headers={"Origin": origin}, timeout=60)
    assert answer.status_code == 200
    origin = site.rstrip("/")
    assert requests.post(addresses[1], json=GOOD, headers={"Origin": origin}, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("cors_origin", "origin", "status"),
    [(ELSEWHERE, ELSEWHERE, 204), (ELSEWHERE, "https://a.example", 403), ("*", "https://a.example", 204)],
)
def test_the_site_in_cors_origin_is_answered(cors_origin, origin, status, listen):
    url = listen(Gateway(None, cors_origin).answer, cors_origin)
    answer = requests.options(f"{url}/predict", headers={"Origin": origin}, timeout=60)
    assert (answer.status_code, answer.headers[ORIGIN]) == (status, cors_origin)


def test_a_photo_gets_its_scores_which_its_page_may_read(site):
    answer = requests.post(f"{site}predict", json=GOOD, timeout=60)
    assert max(answer.json(), key=answer.json().get) == "pants"
    assert (answer.status_code, answer.headers[ORIGIN]) == (200, site.rstrip("/"))
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
    assert answer.headers[ORIGIN] == site.rstrip("/")


def test_what_a_browser_asks_first_is_answered_as_the_template_says(site):
    answer = requests.options(f"{site}predict", timeout=60)
    assert (answer.status_code, answer.headers[ORIGIN]) == (204, site.rstrip("/"))
    template = (ROOT / "template.yaml").read_text()
    for header in ("Methods", "Headers"):
        assert f"'{answer.headers[f'Access-Control-Allow-{header}']}'" in template


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "QUERY"])
def test_another_method_is_refused_as_aws_does(method, site):
    answer = requests.request(method, f"{site}predict", timeout=60)
    assert answer.status_code == 403
    assert method == "HEAD" or answer.json()["error"]["code"] == "MISSING_AUTHENTICATION_TOKEN"


@pytest.mark.parametrize(
    "path",
    [
        "/serve.py",
        "/../Makefile",
        "/light.png",
        "/web/page.js",
        "/samples/../serve.py",
        "/%2e%2e/Makefile",
        "/samples/",
    ],
)
def test_no_other_file_is_served(path, site):
    connection = http.client.HTTPConnection(urlsplit(site).netloc)
    connection.request("GET", path)
    assert connection.getresponse().status == 403


def test_the_page_its_samples_and_the_description_are_served(site):
    assert len(FILES) == 9
    for path, file in FILES.items():
        answer = requests.get(site + path[1:], timeout=60)
        assert (answer.status_code, answer.content) == (200, file.read_bytes())
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert requests.get(f"{site}page.js", timeout=60).headers["Content-Type"] == "text/javascript"


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        ("9999999", 413, "REQUEST_TOO_LARGE"),
        ("9" * 30, 413, "REQUEST_TOO_LARGE"),
        ("9" * 5000, 400, "BAD_REQUEST"),
        ("9" * 20_000, 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
        ("-1", 400, "BAD_REQUEST"),
        ("many", 400, "BAD_REQUEST"),
        ("²", 400, "BAD_REQUEST"),
        ("1\r\nContent-Length: 2", 400, "BAD_REQUEST"),
    ],
)
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_length_that_lambda_would_not_take_is_refused_at_once(expect, length, status, code, address):
    url = urlsplit(address)
    lines = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n{expect}Content-Length: {length}\r\n\r\n"
    assert read(send(address, lines.encode("latin-1"), wait=5)) == (status, code)


@pytest.mark.parametrize("megabytes", [7, 50])
def test_a_large_body_is_told_so(megabytes, address):
    answer = requests.post(address, data=b"x" * megabytes * 1_000_000, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("GET http://[x HTTP/1.1", 400, "BAD_REQUEST"),
        ("GET //[x HTTP/1.1", 403, "ACCESS_DENIED"),
        ("GET", 400, "BAD_REQUEST"),
        ("GET / HTTP/1.1 HTTP/1.1", 400, "BAD_REQUEST"),
        ("\x16\x03\x01", 400, "BAD_REQUEST"),
        ("GET /" + "x" * 20_000 + " HTTP/1.1", 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip", 501, "NOT_IMPLEMENTED"),
        ("POST / HTTP/1.1\r\nX: a\rContent-Length: 5", 400, "BAD_REQUEST"),
    ],
)
def test_what_is_no_request_is_told_so(line, status, code, address):
    assert read(send(address, f"{line}\r\nConnection: close\r\n\r\n".encode("latin-1"))) == (status, code)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_the_body_of_another_method_is_not_taken_for_a_request(method, address):
    host = urlsplit(address).netloc
    inner = f"GET /inner HTTP/1.1\r\nHost: {host}\r\n\r\n"
    last = f"OPTIONS /last HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    lines = f"{method} /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(inner)}\r\n\r\n{inner}{last}"
    assert send(address, lines.encode()).count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("start", ["", "POST /predict HT", "POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_request_that_stalls_or_trickles_is_ended(start, listen, monkeypatch):
    monkeypatch.setitem(BOUNDS, "channel_timeout", 1)
    monkeypatch.setattr("web.server.REQUEST_SECONDS", 2)
    url = listen(Gateway(None, ELSEWHERE).answer)
    assert send(url, start.encode()) == b""
    host = urlsplit(url)
    with socket.create_connection((host.hostname, host.port), timeout=0.2) as client, pytest.raises(OSError):
        client.sendall(b"POST /predict HTTP/1.1\r\n")
        while True:  # until the server closes the connection
            client.sendall(b"X: a\r\n")
            time.sleep(0.2)


def test_stalled_requests_leave_the_page_free(site):
    host = urlsplit(site)
    stalled = [socket.create_connection((host.hostname, host.port)) for _ in range(200)]
    for client in stalled:
        client.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    assert requests.get(site, timeout=5).status_code == 200
    for client in stalled:
        client.close()


def test_the_event_is_a_proxy_event(standing_for):
    def function(event):
        assert event["requestContext"]["httpMethod"] == event["httpMethod"] == "POST"
        content = {"body": event["body"], "query": event["queryStringParameters"]}
        return {"statusCode": 200, "headers": {"X-Custom": "yes"}, "body": json.dumps(content)}

    answer = requests.post(standing_for(function) + "?a=b", data="hü".encode(), timeout=60)
    assert answer.json() == {"body": "hü", "query": {"a": "b"}}
    assert answer.headers["X-Custom"] == "yes"


@pytest.mark.parametrize(
    "answer",
    [
        {"errorType": "internal"},
        {"statusCode": 200},
        {"statusCode": 200, "body": None},
        {"statusCode": 99, "headers": {}, "body": ""},
        {"statusCode": "many", "headers": {}, "body": ""},
        None,
        [],
    ],
)
def test_a_function_that_answers_nonsense_is_a_502_that_a_page_may_read(answer, standing_for):
    answer = requests.post(standing_for(lambda event: answer), json=GOOD, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "DEFAULT_5XX")
    assert answer.headers[ORIGIN] == ELSEWHERE


def test_a_function_that_is_gone_is_a_502(listen):
    url = listen(Gateway(Function(f"http://127.0.0.1:{free_port()}/"), ELSEWHERE).answer)
    assert requests.post(f"{url}/predict", json=GOOD, timeout=60).status_code == 502


def test_a_function_that_takes_too_long_is_a_504_and_is_not_asked_again_meanwhile(standing_for, monkeypatch):
    monkeypatch.setattr("web.gateway.TIMEOUT_SECONDS", 0.2)
    running, most = [], []

    def slow(event):
        running.append(1)
        most.append(len(running))
        time.sleep(1 if event["body"] == "slow" else 0)
        running.pop()
        return {"statusCode": 200, "headers": {}, "body": "{}"}

    url = standing_for(slow)
    answer = requests.post(url, data="slow", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "INTEGRATION_TIMEOUT")
    monkeypatch.setattr("web.gateway.TIMEOUT_SECONDS", 29)
    assert requests.post(url, data="quick", timeout=60).status_code == 200
    assert most == [1, 1]


@pytest.mark.parametrize(("method", "path"), [("GET", None), ("POST", "/"), ("OPTIONS", None), ("HEAD", None)])
def test_lambdas_address_takes_nothing_but_events(method, path, addresses):
    url = urlsplit(addresses[1])
    answer = requests.request(method, url._replace(path=path or url.path).geturl(), timeout=60)
    assert answer.status_code == 404
    assert method == "HEAD" or url.path in answer.json()["error"]["message"]


def test_a_client_context_reaches_the_emulator(addresses):
    answer = requests.post(addresses[1], json=GOOD, headers={"X-Amz-Client-Context": "?"}, timeout=60)
    assert (answer.status_code, answer.content) == (500, b""), "the context is not base64"
