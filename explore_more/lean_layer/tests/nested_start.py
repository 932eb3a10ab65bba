"""Measure how much slower a nested layer starts: python tests/nested_start.py. Both layers must be in build/."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
TURNS = 3
PROGRAM = "from sklearn.ensemble import RandomForestClassifier"


def seconds(layer, program):
    """Return how many seconds a new Python takes to import scikit-learn from a layer."""
    with tempfile.TemporaryDirectory() as scratch:
        environ = {"PYTHONPATH": str(layer / "python"), "UNPACK_FOLDER": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        started = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-s", "-c", program], env=environ, check=True)
        return time.perf_counter() - started


def main():
    ways = {"flat": ("scikit-learn", PROGRAM), "nested": ("scikit-learn-nested", f"import unpack; {PROGRAM}")}
    times = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, (layer, program) in ways.items():
            times[name].append(seconds(FOLDER / "build" / layer, program))
    path = FOLDER / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["scikit_learn_import_seconds"] = {name: round(statistics.median(each), 1) for name, each in times.items()}
    path.write_text(json.dumps(metrics, indent=2) + "\n")
    print(metrics["scikit_learn_import_seconds"])


if __name__ == "__main__":
    main()
