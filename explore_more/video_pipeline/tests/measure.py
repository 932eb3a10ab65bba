"""Measure what a minute of video takes of one core and costs, stage by stage: python tests/measure.py

It runs the stages on a generated video, with folders instead of S3, and writes costs.json. Prices are AWS's for x86 in
us-east-1. The language model is not run: what it costs follows from its tokens, which are counted as 4 characters each.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent)]
os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "1769"  # one core, so one thread
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import cv2  # noqa: E402

cv2.setNumThreads(1)

import description  # noqa: E402
import generate_video  # noqa: E402
import jobs  # noqa: E402
import recognise  # noqa: E402
import storage  # noqa: E402
import track  # noqa: E402

GB_SECOND, GIGABYTES = 0.0000166667, 1769 / 1024
TOKENS_IN, TOKENS_OUT = 0.06 / 1e6, 0.24 / 1e6  # Nova Lite
IDENTIFIER = jobs.identify("measure", "0" * 64)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        generate_video.generate("crossing", 1, path)
        storage.use(storage.Folder(folder, lambda bucket, key: None))
        storage.store.write("requests", jobs.make_key("requests", IDENTIFIER, ".mp4"), path)
        seconds = {}
        for stage, bucket in ((track, "requests"), (recognise, "tracks")):
            key = jobs.make_key(bucket, IDENTIFIER, ".mp4" if bucket == "requests" else ".json")
            started = time.process_time()
            stage.run(bucket, key, {})
            seconds[stage.__name__] = time.process_time() - started
        done, _ = storage.read_json("recognised", jobs.make_key("recognised", IDENTIFIER, ".json"))
        report(seconds, done)


def report(seconds, done):
    """Write and print what a minute takes and costs."""
    minutes = done["video"]["seconds"] / 60
    costs = {name: {"seconds": round(its / minutes, 1)} for name, its in seconds.items()}
    for its in costs.values():
        its["dollars"] = round(its["seconds"] * GIGABYTES * GB_SECOND, 6)
    garments = done["garments"]
    batches = [garments[n : n + description.TOGETHER] for n in range(0, len(garments), description.TOGETHER)]
    asked = sum(len(description.INSTRUCTIONS) + len(str(description.make_messages(batch))) for batch in batches)
    answered = sum(len(json.dumps(description.EXAMPLE)) / 2 for _ in garments)
    dollars = (asked / 4 * TOKENS_IN + answered / 4 * TOKENS_OUT) / minutes
    costs["describe"] = {"garments a minute": round(len(garments) / minutes, 1), "dollars": round(dollars, 6)}
    costs["dollars"] = round(sum(its["dollars"] for its in costs.values()), 5)
    (FOLDER / "costs.json").write_text(json.dumps(costs, indent=1) + "\n")
    print(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main()
