import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(FOLDER), str(ROOT)]
PHOTOS = sorted((ROOT / "tests/photos").rglob("*.jpg"))
BROKEN = {
    "undecodable": PHOTOS[0].read_bytes()[:2000],
    "unsupported_format": b"%PDF-1.7 no photo",
    "too_large": b"\0" * 10_000_001,
}
# A photo, and what makes a process die of it when added to image_source.py, as of a fault in a decoder written in C.
DEADLY = b"\xff\xd8 this photo kills"
FAULT = """
import os
survive = decode
def decode(data):
    return os._exit(11) if b"this photo kills" in data else survive(data)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with twelve photos, and three files that are none."""
    for number, path in enumerate(PHOTOS[:12]):
        target = tmp_path / "photos" / path.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for code, data in BROKEN.items():
        (tmp_path / f"photos/{code}.jpg").write_bytes(data)
    return tmp_path / "photos"


def classify(*arguments, check=True, **environ):
    """Run the command as a user does; return what it printed, and to where."""
    done = subprocess.run(
        [FOLDER / "classify.sh", *map(str, arguments)],
        env={**os.environ, **environ},
        check=False,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


def rows_of(data):
    """Return the rows of a table by their keys; fail where a key has two."""
    rows = list(csv.DictReader(io.StringIO(data.decode(errors="surrogateescape"), newline="")))
    by_key = {row["key"]: row for row in rows}
    assert len(by_key) == len(rows)
    return by_key
