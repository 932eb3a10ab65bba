"""The image in Docker, with what Lambda gives it: /tmp as the only writable folder, and limited memory."""

import base64
import sys
import urllib.error
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
sys.path.append(str(FOLDER.parent.parent))
pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

from recordings import decode  # noqa: E402

from tests.harness.containers import build, find_base, megabytes_without_base, running  # noqa: E402

NAME = "audio-enhancement-test"


@pytest.fixture(scope="module")
def image():
    return build(FOLDER, NAME, BASE=find_base("3.13"))


def test_the_function_needs_no_folder_to_write_into(image, sample):
    """The model is read from where it was installed. Only the result of a request goes to /tmp, here a tmpfs."""
    options = ["--read-only", "--tmpfs", "/tmp", "--user", "993:990", "--memory", "2048m", "--cpus", "1.16"]
    with running(image, *options) as container:
        answer = container.ask({"audio": base64.b64encode(sample).decode()})
        assert decode(base64.b64decode(answer["audio"]))[1] == 44_100
        for broken in (b"", b"RIFF", sample[:20_000]):
            assert "errorType" in container.ask({"audio": base64.b64encode(broken).decode()})
        assert container.ask({"audio": base64.b64encode(sample).decode()})["channels"] == 1


def test_a_function_without_memory_ends_and_lambda_says_so(image, sample):
    """The on-failure destination gets this message, with `Runtime exited` in it."""
    event = {"audio": base64.b64encode(sample).decode()}
    with running(image, "--memory", "24m", "--memory-swap", "24m") as container:
        with pytest.raises(urllib.error.HTTPError) as caught:
            container.ask(event)
        assert "exited" in caught.value.read().decode() + container.logs()


def test_the_image_is_small(image):
    assert megabytes_without_base(image, find_base("3.13")) < 230
