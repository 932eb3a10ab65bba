"""Compare the function with other ways to serve the model, measured side by side in one run.

python -m benchmarks.benchmark      writes benchmarks/results.json; `make benchmark` prepares what it needs

The environment variable ROUNDS sets how often everything is measured. Page caches are warm.
"""

import json
import os
from pathlib import Path

from benchmarks.containers import measure_sizes
from benchmarks.measure import PHOTO, ROOT, ROUNDS
from benchmarks.stacks import STACKS, describe, measure_times
from interpreter import instructions

RESULTS = ROOT / "benchmarks/results.json"


def processor():
    """Return the name of this machine's processor."""
    return Path("/proc/cpuinfo").read_text().split("model name\t: ")[1].splitlines()[0]


def main():
    stacks = {name: describe(stack) for name, stack in STACKS.items()}
    for (name, kind), times in measure_times().items():
        stacks[name][kind] = times
    images, sizes = measure_sizes()
    machine = {"processor": processor(), "cores": os.cpu_count(), "instructions": instructions()}
    results = {"machine": machine, "rounds": ROUNDS, "photo": str(PHOTO.relative_to(ROOT))}
    results.update(stacks=stacks, **{"image MB": images}, sizes=sizes)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
