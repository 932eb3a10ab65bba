import os
import platform
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
for folder in (FOLDER, FOLDER / "training", FOLDER.parent.parent):
    sys.path.append(str(folder))
# cdk and its Python library run on the Node.js that npm installed.
NODE = FOLDER / f"node_modules/node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}/bin"
os.environ["PATH"] = f"{NODE}:{os.environ['PATH']}"

from answers import RequestError  # noqa: E402


def code_of(handler, event):
    """Return the code of the error that a handler raises for a bad event."""
    with pytest.raises(RequestError) as raised:
        handler(event, None)
    assert 10 < len(str(raised.value)) < 200
    assert 400 <= raised.value.status < 500
    return type(raised.value).__name__
