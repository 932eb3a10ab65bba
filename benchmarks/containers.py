"""Measure the Lambda image at the shares of a processor that Lambda sells."""

import os
import sys
from functools import partial

import requests

from benchmarks.measure import INLINE, ROOT, ROUNDS, WARM_REQUESTS, ask, merge, milliseconds
from interpreter import MB_PER_CORE
from tests.harness.containers import build, find_base, megabytes_without_base, running

SIZES = (768, 1024, 1769, 3538)
VERSIONS = ("3.8", "3.13")


def serve(image, megabytes, threads):
    """Return the milliseconds of the first answer and of warm ones, in a container as large as that function."""
    cores = min(megabytes / MB_PER_CORE, os.cpu_count())
    options = ["--cpus", f"{cores:.3f}", "--memory", f"{megabytes}m", "--read-only", "--tmpfs", "/tmp"]
    options += ["--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={MB_PER_CORE * threads}"]
    with running(image, *options) as container, requests.Session() as session:
        post = partial(ask, session, container.url, {"image": INLINE})
        return {"cold": milliseconds(post), "warm": [milliseconds(post) for _ in range(WARM_REQUESTS)]}


def measure_sizes():
    """Return {version: megabytes of the image} and a list of rows: version, size, threads, cold and warm times."""
    bases = {version: find_base(version) for version in VERSIONS}
    images = {
        version: build(ROOT, f"clothing-classifier:{version}", PYTHON_VERSION=version, BASE=base)
        for version, base in bases.items()
    }
    cases = [(version, size, threads) for version in VERSIONS for size in SIZES for threads in (1, 2)]
    rounds = {case: [] for case in cases}
    for number in range(ROUNDS):
        for version, size, threads in cases:
            print(f"round {number + 1} of {ROUNDS}: {version} at {size} MB, threads: {threads}", file=sys.stderr)
            rounds[version, size, threads].append(serve(images[version], size, threads))
    rows = [{"python": v, "megabytes": mb, "threads": t, **merge(rounds[v, mb, t])} for v, mb, t in cases]
    return {version: megabytes_without_base(images[version], bases[version]) for version in VERSIONS}, rows
