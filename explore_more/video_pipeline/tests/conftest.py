import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(FOLDER), str(ROOT)]
os.environ["PYTHONPATH"] = str(ROOT)  # where the classifier's modules are, for the scripts that tests start


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
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, text=True, **pipes)
    yield server.stdout.readline().strip()
    server.stdin.close()
    server.wait()


def pack(files):
    """Return a model.tar.gz of files, bytes by name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()
