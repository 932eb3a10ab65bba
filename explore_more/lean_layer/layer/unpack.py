"""Unpack the layer's packages.zip into /tmp, and import packages from there. They are too large for a layer otherwise.

A function with a nested layer must `import unpack` before anything else. The first import takes seconds.
"""

import os
import sys
import zipfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("packages.zip")
FOLDER = Path(os.environ.get("UNPACK_FOLDER", "/tmp"), "packages")

if not FOLDER.exists():
    unfinished = FOLDER.with_name(f"packages-{os.getpid()}")
    zipfile.ZipFile(ARCHIVE).extractall(unfinished)
    unfinished.rename(FOLDER)  # atomic: the folder is complete or does not exist
sys.path.insert(0, str(FOLDER))
