"""Measure the Lambda image with the memory and the share of a processor that Lambda sells together."""

import os
import sys
from functools import partial

import requests

from benchmarks import avx2_only
from benchmarks.measure import AVX2_ONLY, INLINE, KINDS, ROOT, ROUNDS, WARM_REQUESTS, ask, merge, milliseconds
from interpreter import MB_PER_CORE
from tests.harness.containers import build, find_base, megabytes_without_base, running

SIZES = (768, 1024, 1769, 3538)
VERSIONS = ("3.8", "3.13")


def hide_instructions(kind):
    """Return the Docker options that let a container see only the instructions of that kind."""
    mount = ["--volume", f"{AVX2_ONLY}:{AVX2_ONLY}:ro"] if kind == "AVX2" else []
    return mount + [f"--env={name}={value}" for name, value in KINDS[kind].items()]


def check(image):
    """Raise RuntimeError unless a container of the image that should see only AVX2 does so."""
    if "AVX2" in KINDS:
        command = ["docker", "run", "--rm", *hide_instructions("AVX2"), "--entrypoint", "python", image]
        avx2_only.check(command)


def serve(image, megabytes, kind):
    """Return the milliseconds of the first answer and of warm answers, in a container of the function's size."""
    cores = min(megabytes / MB_PER_CORE, os.cpu_count())
    options = ["--cpus", f"{cores:.3f}", "--memory", f"{megabytes}m", "--read-only", "--tmpfs", "/tmp"]
    options += ["--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={megabytes}", *hide_instructions(kind)]
    with running(image, *options) as container, requests.Session() as session:
        post = partial(ask, session, container.url, {"image": INLINE})
        return {"cold": milliseconds(post), "warm": [milliseconds(post) for _ in range(WARM_REQUESTS)]}


def measure_sizes():
    """Return {version: megabytes of the image} and a list of rows with version, size and times of each kind."""
    bases = {version: find_base(version) for version in VERSIONS}
    images = {
        version: build(ROOT, f"clothing-classifier:{version}", PYTHON_VERSION=version, BASE=base)
        for version, base in bases.items()
    }
    for image in images.values():
        check(image)
    cases = [(version, size, kind) for version in VERSIONS for size in SIZES for kind in KINDS]
    rounds = {case: [] for case in cases}
    for number in range(ROUNDS):
        for version, size, kind in cases:
            print(f"round {number + 1} of {ROUNDS}: {version} at {size} MB, {kind}", file=sys.stderr)
            rounds[version, size, kind].append(serve(images[version], size, kind))
    rows = [
        {"python": version, "megabytes": size, **{kind: merge(rounds[version, size, kind]) for kind in KINDS}}
        for version in VERSIONS
        for size in SIZES
    ]
    return {version: megabytes_without_base(images[version], bases[version]) for version in VERSIONS}, rows
