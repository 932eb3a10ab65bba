"""The clock, the requests and the summaries that all measurements share."""

import base64
import os
import statistics
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("ROUNDS", "5"))
WARM_REQUESTS = 10
PHOTO = ROOT / "tests/photos/pants/pants-2.jpg"  # 400 by 533 pixels
AVX2_ONLY = ROOT / "build/avx2_only.so"  # built by `make benchmark`
# The environment variables that limit a process to each kind of instructions
KINDS = {"AVX2": {"LD_AUDIT": str(AVX2_ONLY)}, "all": {}} if AVX2_ONLY.exists() else {"all": {}}
INLINE = base64.b64encode(PHOTO.read_bytes()).decode()


def milliseconds(function, *arguments):
    """Return the milliseconds that a call takes."""
    started = time.perf_counter()
    function(*arguments)
    return 1000 * (time.perf_counter() - started)


def ask(session, url, event):
    """Post an event, and retry until a server listens; raise RuntimeError if the answer has no scores."""
    while True:
        try:
            answer = session.post(url, json=event, timeout=120).json()
        except requests.exceptions.ConnectionError:
            time.sleep(0.001)
        else:
            if "dress" not in answer:
                raise RuntimeError(answer)
            return


def summarize(values):
    """Return the median and the quartiles of numbers, rounded to a tenth."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    low, middle, high = (round(value, 1) for value in quartiles)
    return {"median": middle, "quartiles": [low, high]}


def merge(rounds):
    """Return a summary of each measure over all rounds; a round holds one number or a list for each measure."""
    as_lists = [{key: value if isinstance(value, list) else [value] for key, value in one.items()} for one in rounds]
    return {key: summarize([value for one in as_lists for value in one[key]]) for key in rounds[0]}
