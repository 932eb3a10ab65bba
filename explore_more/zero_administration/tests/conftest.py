import os
import platform
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
for folder in (FOLDER, FOLDER / "training", FOLDER.parent.parent):
    sys.path.append(str(folder))
# cdk, and what Python has of it, run on the Node.js that npm brought.
NODE = FOLDER / f"node_modules/node-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}/bin"
os.environ["PATH"] = f"{NODE}:{os.environ['PATH']}"
