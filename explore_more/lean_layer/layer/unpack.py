"""Unpack the layer's packages.zip into /tmp and import from there: for packages that are too large for a layer.

The first import takes seconds; a function with a nested layer says `import unpack` before all else.
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
    unfinished.rename(FOLDER)  # whole, or not there
sys.path.insert(0, str(FOLDER))
