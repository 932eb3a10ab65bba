"""AWS on this machine: ministack and a Docker Engine, behind a proxy that counts calls and makes them fail."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
import requests
import urllib3
from conftest import ROOT

from benchmarks.containers import find_base
from web.serve import free_port

AWS = ROOT / ".venv-aws/bin"
PYTHON = "3.13"  # what deploy.sh deploys by default
START_SECONDS = 60
FAULTS = {
    "throttled": (400, "ThrottlingException"),
    "broken": (500, "InternalFailure"),
    "expired": (403, "ExpiredToken"),
}
READS = ("Describe", "List", "Get", "Filter", "HEAD", "GET")


class Proxy(ThreadingHTTPServer):
    """Hands calls on to `target`. `calls` are their names; `fault(name, number)` and `after(name)` interfere.

    `fault` is asked before each call, with how often that name was called, and returns None or "throttled",
    "broken" (HTTP 500), "dropped" (no answer), "lost" (no answer, though the call was done) or "expired".
    """

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = target
        self.http = urllib3.PoolManager(retries=False)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self):
        self.calls = []
        self.fault = lambda name, number: None
        self.after = lambda name: None

    def changes(self):
        """Return the calls that change something."""
        return [name for name in self.calls if not name.startswith((*READS, "predict"))]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.name(body)
        server.calls.append(name)
        fault = server.fault(name, server.calls.count(name))
        if fault == "dropped":
            return
        if fault in FAULTS:
            self.fail(*FAULTS[fault])
            return
        url, headers = server.target + self.path, dict(self.headers)
        answer = server.http.request(
            self.command, url, body=body, headers=headers, decode_content=False, redirect=False
        )
        server.after(name)
        if fault != "lost":
            self.answer(answer.status, answer.data, answer.headers)

    do_GET = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def name(self, body):
        """Return the call's name: the API's own, or method and path for services that have only those."""
        if "X-Amz-Target" in self.headers:
            return self.headers["X-Amz-Target"].split(".")[-1]
        action = parse_qs(body.decode(errors="replace")).get("Action") if body.startswith(b"Action=") else None
        return action[0] if action else "predict" if "_user_request_" in self.path else f"{self.command} {self.path}"

    def fail(self, status, code):
        """Answer as the service would that the call names: in XML, or in JSON with the code in a header."""
        xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>injected</Message></Error></ErrorResponse>"
        text = json.dumps({"__type": code, "message": "injected"}) if "X-Amz-Target" in self.headers else xml
        self.answer(status, text.encode(), {"x-amzn-ErrorType": code})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Rehearsal:
    """A copy of the checkout, and an AWS account to deploy it to.

    `is_live` tells whether what deploy.sh did last was to deploy the checkout as it is, with default settings.
    """

    def __init__(self, folder, proxy, registry, base):
        self.folder = folder
        self.checkout = folder / "checkout"
        self.proxy = proxy
        self.environ = {
            "PATH": f"{AWS}:{os.environ['PATH']}",
            "HOME": str(folder),  # where Docker keeps what `docker login` is told
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "REGISTRY": registry,
            "BASE": base,
        }
        self.copy_checkout()
        self.is_live = False

    def reset(self):
        """Empty the account at once, as no call of AWS can, and make a fresh checkout."""
        self.proxy.reset()
        requests.post(f"{self.proxy.target}/_ministack/reset", timeout=60).raise_for_status()
        self.copy_checkout()
        self.is_live = False

    def copy_checkout(self):
        """Put the files of the working tree, as a clone would have them, into `checkout`."""
        shutil.rmtree(self.checkout, ignore_errors=True)
        self.is_edited = False
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
            if (ROOT / name).exists():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.checkout / name)

    def deploy(self, *arguments, kill_at=None, **settings):
        """Run deploy.sh; return its `status`, `output` and `errors`. Kill it at once when it announces `kill_at`."""
        environ = {name: value for name, value in {**self.environ, **settings}.items() if value is not None}
        process = subprocess.Popen(
            ["./deploy.sh", *arguments],
            cwd=self.checkout,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.kill = lambda: os.killpg(process.pid, signal.SIGKILL)
        errors = []
        for line in process.stderr:
            errors.append(line)
            if kill_at and line.startswith(f"→ {kill_at}"):
                self.kill()
        output = process.stdout.read()
        status = process.wait()
        self.is_live = status == 0 and not (arguments or settings or self.is_edited)
        return SimpleNamespace(status=status, output=output, errors="".join(errors))

    def aws(self, *arguments):
        """Run the aws command line and return what it answers; raise where it fails."""
        command = [AWS / "aws", *map(str, arguments), "--output", "json"]
        environ = {**self.environ, "AWS_DEFAULT_REGION": self.environ["AWS_REGION"]}
        return json.loads(subprocess.check_output(command, env=environ, text=True) or "null")

    def client(self, *photos, **environ):
        """Run test.py in the checkout, as its user does after deploy.sh."""
        clean = {name: self.environ[name] for name in ("PATH", "HOME")}
        command = [sys.executable, "test.py", *map(str, photos)]
        return subprocess.run(
            command, cwd=self.checkout, env={**clean, **environ}, capture_output=True, text=True, check=False
        )

    @property
    def url(self):
        """The endpoint that deploy.sh saved for test.py."""
        return (self.checkout / ".predict-url").read_text().strip()

    def edit(self, name, old, new):
        """Replace `old`, which must be there, in a file of the checkout."""
        self.is_edited = True
        path = self.checkout / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@contextmanager
def rehearsal(folder, **environ):
    """Start an AWS without anything in it; yield its Rehearsal; stop it with the containers that it started."""
    port = free_port()
    state = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "HOME": str(folder), **environ}
    with (folder / "ministack.log").open("w") as log:
        ministack = subprocess.Popen(
            [AWS / "python", "-m", "ministack"],
            env={**os.environ, **state},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    proxy = Proxy(f"http://127.0.0.1:{port}")
    Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        wait_until_ready(proxy.target, ministack)
        yield Rehearsal(folder, proxy, f"localhost:{port}", find_base(PYTHON))
    finally:
        proxy.shutdown()
        proxy.server_close()
        ministack.terminate()
        ministack.wait()
        remove_containers(port)


def wait_until_ready(url, process):
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return requests.get(f"{url}/_ministack/health", timeout=5).raise_for_status()
        except requests.exceptions.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError("ministack did not start")


def remove_containers(port):
    """Remove the containers of functions that the ministack on that port started."""
    label = f"label=ministack.instance={socket.gethostname()}:{port}"
    found = subprocess.check_output(["docker", "ps", "--all", "--quiet", "--filter", label], text=True).split()
    if found:
        subprocess.run(["docker", "rm", "--force", *found], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account."""
    with rehearsal(tmp_path_factory.mktemp("aws")) as account:
        yield account


@pytest.fixture
def empty(account):
    """The account without anything in it, and a fresh checkout."""
    account.reset()
    return account
