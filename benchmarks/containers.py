"""Measure the Lambda image at the shares of a processor that Lambda sells."""

import os
import subprocess
import sys
import time
from functools import partial

import requests

from benchmarks.measure import INLINE, ROOT, ROUNDS, WARM_REQUESTS, ask, merge, milliseconds
from interpreter import MB_PER_CORE
from web.serve import PATH, free_port

SIZES = (512, 1024, 1769, 3538)
VERSIONS = ("3.8", "3.13")
START_SECONDS = 10


def find_base(version):
    """Return the name of the image to build on: AWS's, or its stand-in where that cannot be pulled."""
    return subprocess.check_output([ROOT / "tests/container/base_image.sh", version], text=True).split()[-1]


def build_image(version, base):
    """Build the working tree's image for a Python version on `base`; return its name."""
    name = f"clothing-classifier:{version}"
    arguments = ["--build-arg", f"PYTHON_VERSION={version}", "--build-arg", f"BASE={base}", "--tag", name]
    subprocess.run(["docker", "build", "--quiet", *arguments, ROOT], check=True, stdout=subprocess.DEVNULL)
    return name


def megabytes_without_base(image, base):
    """Return how many megabytes an image adds to its base."""
    inspect = ["docker", "image", "inspect", "--format", "{{.Size}}", image, base]
    size, base_size = map(int, subprocess.check_output(inspect, text=True).split())
    return round((size - base_size) / 1e6, 1)


def wait_for_emulator(url):
    """Return once the emulator answers, if only 404: the first event, not this, starts the function.

    Docker opens the port earlier. Raise the last ConnectionError after START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return requests.get(url, timeout=START_SECONDS)
        except requests.exceptions.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def serve(image, megabytes, threads):
    """Return the milliseconds of the first answer and of warm ones, in a container as large as that function."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    cores = min(megabytes / MB_PER_CORE, os.cpu_count())
    options = ["--cpus", f"{cores:.3f}", "--memory", f"{megabytes}m", "--publish", f"{port}:8080"]
    options += ["--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={MB_PER_CORE * threads}"]
    command = ["docker", "run", "--detach", "--read-only", "--tmpfs", "/tmp", *options, image]
    container = subprocess.check_output(command, text=True).strip()
    try:
        wait_for_emulator(url)
        with requests.Session() as session:
            post = partial(ask, session, url + PATH, {"image": INLINE})
            return {"cold": milliseconds(post), "warm": [milliseconds(post) for _ in range(WARM_REQUESTS)]}
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, stdout=subprocess.DEVNULL)


def measure_sizes():
    """Return {version: megabytes of the image} and a list of rows: version, size, threads, cold and warm times."""
    bases = {version: find_base(version) for version in VERSIONS}
    images = {version: build_image(version, base) for version, base in bases.items()}
    cases = [(version, size, threads) for version in VERSIONS for size in SIZES for threads in (1, 2)]
    rounds = {case: [] for case in cases}
    for number in range(ROUNDS):
        for version, size, threads in cases:
            print(f"round {number + 1} of {ROUNDS}: {version} at {size} MB, threads: {threads}", file=sys.stderr)
            rounds[version, size, threads].append(serve(images[version], size, threads))
    rows = [{"python": v, "megabytes": mb, "threads": t, **merge(rounds[v, mb, t])} for v, mb, t in cases]
    return {version: megabytes_without_base(images[version], bases[version]) for version in VERSIONS}, rows
