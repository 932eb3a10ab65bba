import os
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(FOLDER)]
os.environ["ALLOW_LOOPBACK"] = "true"


@pytest.fixture(scope="session")
def sample():
    """The bytes of a noisy recording of 6.3 seconds, an m4a."""
    return (FOLDER / "samples/noisy.m4a").read_bytes()
