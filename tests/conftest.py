"""What the tests share: the repository's photos, and functions served by the real emulator."""

import base64
import gc
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
PHOTOS = sorted((ROOT / "tests/photos").glob("*/*.jpg"))
TROUSERS = ROOT / "tests/photos/pants/pants-1.jpg"
NOTEBOOK = ROOT / "notebooks/train_and_convert.ipynb"
LOCKS = (ROOT / "requirements").glob("python*.txt")
LOCKED_PYTHONS = sorted((lock.stem[len("python") :] for lock in LOCKS), key=lambda version: (len(version), version))
REQUIRED_PYTHONS = os.environ.get("REQUIRED_PYTHONS", "").split()
RUNNING_VERSION = "{}.{}".format(*sys.version_info)
sys.path.insert(0, str(ROOT))

import limits  # noqa: E402
from errors import RequestError  # noqa: E402
from tests.harness.servers import folder_server, free_port, running  # noqa: E402


def encode(data):
    """Return bytes as the base64 text that a request carries."""
    return base64.b64encode(data).decode()


GOOD = {"image": encode(TROUSERS.read_bytes())}


def code_of(function, *arguments):
    """Return the code of the RequestError that a call raises. Its message must be a sentence."""
    with pytest.raises(RequestError) as caught:
        function(*arguments)
    assert re.fullmatch(r"[A-Z\"].*\.", str(caught.value))
    return type(caught.value).__name__


def logits_of(probability, temperature):
    """Return logits of ten classes that give dress this probability, and share the rest equally."""
    score = temperature * math.log(9 * probability / (1 - probability))
    return {name: score if name == "dress" else 0.0 for name in sorted({photo.parent.name for photo in PHOTOS})}


# On a busy machine, the time that an example takes says nothing.
settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")

# Otherwise `make test` would pass its own flags to the make that a test runs.
for name in [name for name in os.environ if name.startswith("MAKE") or name == "MFLAGS"]:
    del os.environ[name]


def pytest_collection_modifyitems(items):
    """Start the notebooks first, which take longest, so that two processes finish at about the same time."""
    items.sort(key=lambda item: "notebook" not in item.path.stem)


def pytest_collection_finish():
    """Take the test modules' objects out of garbage collection, which the handler runs for each request."""
    gc.freeze()


def code_cells():
    """Return the code cells of the committed training notebook."""
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="session")
def printed():
    """What the committed training notebook printed."""
    return "\n".join(output.get("text", "") for cell in code_cells() for output in cell.outputs)


@pytest.fixture
def trousers():
    """The request for the repository's photo of trousers."""
    return dict(GOOD)


def python_of(version):
    """Return the interpreter of a version's environment; skip the test if this machine lacks that Python."""
    folder = ROOT / (".venv" if version == RUNNING_VERSION else f".venv-{version}")
    if not (folder / f"installed-{version}").exists():
        missing = f"Python {version} is not on this machine"
        if REQUIRED_PYTHONS:
            pytest.fail(missing)
        pytest.skip(missing)
    return folder / "bin/python"


class PhotoServer(ThreadingHTTPServer):
    """A server on loopback whose `answers` map a path to a function that writes the response.

    The response may be wrong. A real web framework, such as the one in pytest-httpserver, would correct or refuse it.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), PhotoHandler)
        self.answers = {"/photo.jpg": lambda request: request.answer(200, TROUSERS.read_bytes())}

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class PhotoHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.answers[self.path](self)

    do_POST = do_GET

    def answer(self, status, body=b"", **headers):
        """Send a whole response; a header named `Content_Length` replaces the true one."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    """Start an HTTP server, return it, and stop it after the test."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(running(server))


@pytest.fixture
def photo_server(serve, monkeypatch):
    """A running PhotoServer with the photo of trousers at /photo.jpg. The function is allowed to download it."""
    monkeypatch.setattr(limits, "ALLOW_LOOPBACK", True)
    return serve(PhotoServer())


@contextmanager
def serving(command, port, log, page_port=None, **environ):
    """Run a command that serves on `port` until Ctrl-C; yield its process and the URL it announces."""
    # A shell starts background jobs with Ctrl-C ignored, and the tests may be such a job.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), "PAGE_PORT": str(page_port or free_port()), **environ},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Serving "):
                process.printed = "".join(lines)
                yield process, line.split()[1]
                break
        else:
            pytest.fail(f"{command} ended without serving:\n{''.join(lines)}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.stdout.close()
        process.wait()


@contextmanager
def serving_page(folder, **environ):
    """Run `make run`'s server, with its log in a folder; yield the addresses of the page and of the function."""
    command = [python_of(RUNNING_VERSION), "-m", "web.serve"]
    with (folder / "log").open("w") as log, serving(command, free_port(), log, **environ) as (process, function):
        yield re.search(r"The page is at (\S+/),", process.printed)[1], function


@pytest.fixture(scope="session")
def addresses(tmp_path_factory):
    """The addresses of the page and of the function, as `make run` serves them."""
    with serving_page(tmp_path_factory.mktemp("site")) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def site(addresses):
    """The address of the page, with a function behind it."""
    return addresses[0]


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: Debian's, or the one that `playwright install chromium` fetches."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page_elsewhere(serve):
    """The address of the page on a host that is not the API's."""
    server = serve(folder_server(ROOT))
    return f"http://127.0.0.1:{server.server_port}/web/index.html"
