"""AWS on this machine: ministack and a Docker Engine, behind a proxy that counts calls and makes them fail."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.harness import servers
from tests.harness.containers import bridge_address, remove_containers
from tests.harness.servers import Forwarder, free_port

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-aws/bin"
MINISTACK = Path(__file__).with_name("mended_ministack.py")
START_SECONDS = 60
CALL_SECONDS = 900  # as long as a function may run
FAULTS = {
    "throttled": (400, "ThrottlingException"),
    "broken": (500, "InternalFailure"),
    "expired": (403, "ExpiredToken"),
}
READS = ("Describe", "List", "Get", "Filter", "HEAD", "GET")


class Proxy(ThreadingHTTPServer):
    """Forwards calls to `target`. `calls` are their names; `fault(name, number)` and `after(name)` interfere.

    Before each call, `fault` gets the call's name and how often it was called. It returns None, "throttled",
    "broken" (HTTP 500), "dropped" (no answer), "lost" (no answer, although the call was made) or "expired".
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = target
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self):
        self.calls = []
        self.fault = lambda name, number: None
        self.after = lambda name: None

    def changes(self):
        """Return the calls that change something."""
        return [name for name in self.calls if not name.startswith((*READS, "predict"))]

    def forward(self, method, path, body, headers):
        """Return the status, headers and body of the target's answer."""
        connection = HTTPConnection(urlsplit(self.target).netloc, timeout=CALL_SECONDS)
        try:
            connection.request(method, path, body=body or None, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        if "Expect" in self.headers:
            del self.headers["Expect"]
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.name(body)
        server.calls.append(name)
        fault = server.fault(name, server.calls.count(name))
        if fault == "dropped":
            return
        if fault in FAULTS:
            self.fail(*FAULTS[fault])
            return
        answer = server.forward(self.command, self.path, body, dict(self.headers))
        server.after(name)
        if fault != "lost":
            self.answer(*answer)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def name(self, body):
        """Return the call's name in its API, or method and path for services without such names."""
        if "X-Amz-Target" in self.headers:
            return self.headers["X-Amz-Target"].split(".")[-1]
        action = parse_qs(body.decode(errors="replace")).get("Action") if body.startswith(b"Action=") else None
        is_prediction = "/_user_request_/" in self.path or "/lambda-url/" in self.path
        return action[0] if action else "predict" if is_prediction else f"{self.command} {self.path}"

    def fail(self, status, code):
        """Answer as the called service would: in XML, or in JSON with the code in a header."""
        xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>injected</Message></Error></ErrorResponse>"
        text = json.dumps({"__type": code, "message": "injected"}) if "X-Amz-Target" in self.headers else xml
        self.answer(status, [("x-amzn-ErrorType", code)], text.encode())

    def answer(self, status, headers, body):
        self.send_response(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Account:
    """An AWS account. `environ` is for its users, `proxy` sees their calls, `registry` takes their images."""

    def __init__(self, folder, proxy, registry):
        self.folder = folder
        self.proxy = proxy
        self.registry = registry
        self.environ = {
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
            "HOME": str(folder),  # where Docker keeps the credentials of `docker login`
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "REGISTRY": registry,
        }

    def reset(self):
        """Empty the account at once. AWS has no call for that."""
        self.proxy.reset()
        urllib.request.urlopen(f"{self.proxy.target}/_ministack/reset", data=b"", timeout=60).close()

    def aws(self, *arguments):
        """Run the aws command line and return its answer; raise CalledProcessError if it fails."""
        # `aws sqs` does not read AWS_ENDPOINT_URL.
        command = [TOOLS / "aws", *map(str, arguments), "--output", "json", "--endpoint-url", self.proxy.url]
        environ = {**self.environ, "AWS_DEFAULT_REGION": self.environ["AWS_REGION"]}
        return json.loads(subprocess.check_output(command, env=environ, text=True) or "null")


@contextmanager
def running_aws(folder, kind=Account, **environ):
    """Start an empty AWS; yield its account; stop it and the containers that it started.

    `environ` goes to ministack, for example AUTH="true" to check permissions. Functions get AWS's address in
    AWS_ENDPOINT_URL, on Docker's bridge.
    """
    port, bridge = free_port(), bridge_address()
    state = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "HOME": str(folder)}
    state["AWS_ENDPOINT_URL"] = f"http://{bridge}:{port}"
    with ExitStack() as stack:
        log = stack.enter_context((folder / "ministack.log").open("w"))
        ministack = subprocess.Popen(
            [TOOLS / "python", MINISTACK],
            env={**os.environ, **state, **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        stack.callback(remove_containers, f"ministack.instance={socket.gethostname()}:{port}")
        stack.callback(servers.stop, ministack)
        proxy = stack.enter_context(servers.running(Proxy(f"http://127.0.0.1:{port}")))
        stack.enter_context(servers.running(Forwarder((bridge, port), ("127.0.0.1", port))))
        wait_until_ready(proxy.target, ministack)
        yield kind(folder, proxy, f"localhost:{port}")


def wait_until_ready(url, process):
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return urllib.request.urlopen(f"{url}/_ministack/health", timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("ministack did not start")
