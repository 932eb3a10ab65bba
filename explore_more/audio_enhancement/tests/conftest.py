import os
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(FOLDER)]
os.environ["ALLOW_LOOPBACK"] = "true"


@pytest.fixture(scope="session")
def sample():
    """The bytes of a noisy m4a recording of 6.3 seconds."""
    return (FOLDER / "samples/noisy.m4a").read_bytes()
