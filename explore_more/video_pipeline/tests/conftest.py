import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(FOLDER), str(ROOT)]


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """The path of a video of two garments; <name>.truth.json beside it says what is seen in it."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    command = [sys.executable, FOLDER / "generate_video.py", "--garments", "2", "--out", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def language_model():
    """The address of a small language model, without /v1."""
    command = [sys.executable, Path(__file__).with_name("language_model.py")]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield server.stdout.readline().strip()
    server.stdin.close()
    server.wait()
