"""Measure the functions' speed, memory, cold start and image, and compare the segmentation with jieba's.

It writes metrics.json.

python tests/measure.py cmn-eng.tsv.gz        needs Docker and an idle machine; takes about three minutes
"""

import argparse
import json
import logging
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import FOLDER

SENTENCES = 1000
STARTS = 5
SAMPLE = "我昨天在图书馆看了一本有意思的书。"
# One direction, on one core, in a process of its own: its peak memory is what Lambda counts.
TRANSLATING = """
import json, resource, sys, time
from inference.translate import load, translate_text
lines, (source, target), batch = json.load(sys.stdin)
translate_text(lines[0], source, target)
started = time.perf_counter()
for start in range(0, len(lines), batch):
    translate_text("\\n".join(lines[start : start + batch]), source, target)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps({"sentences_a_second": round(len(lines) / seconds, 1), "peak_mb": round(peak)}))
"""


def on_one_core(code, content):
    """Run a script on one core with JSON as its input; return the JSON that it prints."""
    command = ["taskset", "--cpu-list", "0", sys.executable, "-c", code]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.check_output(command, cwd=FOLDER, env=environ, input=json.dumps(content), text=True))


def measure_translation(pairs):
    return {
        f"{source}-{target}, {how}": on_one_core(TRANSLATING, [lines, [source, target], batch])
        for source, target in (("zh", "en"), ("en", "zh"))
        for lines in [[getattr(pair, source) for pair in pairs]]
        for how, batch in (("in batches of 32", 32), ("singly", 1))
    }


def measure_segmentation(sentences):
    """Return how often rjieba cuts as jieba does, and how many characters per second each way cuts."""
    import jieba  # noqa: PLC0415
    import rjieba  # noqa: PLC0415

    from inference.segment import handler  # noqa: PLC0415

    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    same = sum(list(jieba.cut(sentence)) == rjieba.cut(sentence) for sentence in sentences)
    text, measured = "\n".join(sentences)[:5000], {"sentences": len(sentences), "cut_as_jieba_cuts": same}
    for name, function in (
        ("jieba alone", lambda: list(jieba.cut(text))),
        ("rjieba alone", lambda: rjieba.cut(text)),
        ("the function", lambda: handler({"text": text}, None)),
    ):
        function()
        times = []
        for _ in range(20):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
        measured[f"characters_a_second, {name}"] = round(len(text) / statistics.median(times))
    return measured


def measure_image(base):
    """Return the image's size, and the milliseconds to a container's first answer and to the next ones."""
    from tests.harness.containers import build, docker, megabytes_without_base, running  # noqa: PLC0415

    image = build(FOLDER, "zero-administration-measured", BASE=base)
    measured = {"image_mb": round(int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6)}
    measured["image_mb_over_base"] = megabytes_without_base(image, base)
    with tempfile.TemporaryDirectory() as mount:
        shutil.copytree(FOLDER / "models/small", Path(mount, "small"))
        models = json.dumps(dict.fromkeys(("zh-en", "en-zh"), "/mnt/hf_models_cache/small"))
        options = ["--memory", "1769m", "--cpus", "1", "-v", f"{mount}:/mnt/hf_models_cache", "-e", f"MODELS={models}"]
        for script in ("translate", "segment"):
            cold, warm = [], []
            for _ in range(STARTS):
                started = time.perf_counter()
                with running(image, *options, command=[f"inference.{script}.handler"]) as container:
                    container.ask({"text": SAMPLE})
                    cold.append(time.perf_counter() - started)
                    for _ in range(5):
                        started = time.perf_counter()
                        container.ask({"text": SAMPLE})
                        warm.append(time.perf_counter() - started)
                    peaks = docker("exec", container.name, "sh", "-c", "grep -h VmHWM /proc/[0-9]*/status")
            measured[script] = {
                "cold_ms": round(1000 * statistics.median(cold)),
                "warm_ms": round(1000 * statistics.median(warm), 1),
                "peak_mb": round(max(int(line.split()[1]) for line in peaks.splitlines()) / 1000),  # of Python
            }
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="cmn-eng.tsv.gz")
    parser.add_argument("--output", type=Path, default=FOLDER / "metrics.json")
    arguments = parser.parse_args()
    from corpus import read_pairs, split_pairs  # noqa: PLC0415

    from tests.harness.containers import find_base  # noqa: PLC0415

    test = split_pairs(read_pairs(arguments.pairs))["test"]
    some = random.Random(0).sample(test, SENTENCES)
    metrics = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    metrics["speed"] = measure_translation(some[:320])
    metrics["segmentation"] = measure_segmentation([pair.zh for pair in some])
    metrics["image"] = measure_image(find_base("3.13"))
    arguments.output.write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
