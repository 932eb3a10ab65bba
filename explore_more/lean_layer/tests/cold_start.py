"""Compare the cold starts of zip and layer with those of a container image: python tests/cold_start.py

The times are milliseconds from `docker run` to the first translation, through AWS's emulator, with one processor.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
sys.path.append(str(FOLDER.parent.parent))
from tests.harness.containers import build, find_base, running  # noqa: E402

TURNS = 5
EVENT = {"sentences": ["Ich habe Hunger."]}
DOCKERFILE = """
ARG BASE
FROM ${BASE}
COPY layer/python /opt/python
COPY function ./
CMD ["app.lambda_handler"]
"""


def first_answer(*arguments, **options):
    """Return how many milliseconds a new container takes to answer."""
    started = time.perf_counter()
    with running(*arguments, **options) as container:
        assert container.ask(EVENT)["translations"]
        return 1000 * (time.perf_counter() - started)


def main():
    base = find_base("3.13")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(FOLDER / "build/translation", context / "layer")
        shutil.copytree(FOLDER / "translation_function", context / "function", ignore=shutil.ignore_patterns("__pyc*"))
        (context / "Dockerfile").write_text(DOCKERFILE)
        image = build(context, "lean-layer-container", BASE=base)
        processor = ["--cpus", "1"]
        volumes = ["--volume", f"{context}/function:/var/task:ro", "--volume", f"{context}/layer:/opt:ro"]
        ways = {
            "zip and layer": lambda: first_answer(base, *processor, *volumes, command=["app.lambda_handler"]),
            "container image": lambda: first_answer(image, *processor),
        }
        for run in ways.values():
            run()
        times = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, run in ways.items():
                times[name].append(run())
        subprocess.run(["docker", "rmi", image], check=False, stdout=subprocess.DEVNULL)
    path = FOLDER / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["cold_start_ms"] = {name: round(statistics.median(values)) for name, values in times.items()}
    path.write_text(json.dumps(metrics, indent=2) + "\n")
    print(metrics["cold_start_ms"])


if __name__ == "__main__":
    main()
