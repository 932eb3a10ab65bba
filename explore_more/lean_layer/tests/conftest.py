import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
for folder in (FOLDER, FOLDER / "translation_function", FOLDER / "training", FOLDER / "layer", FOLDER.parent.parent):
    sys.path.append(str(folder))
