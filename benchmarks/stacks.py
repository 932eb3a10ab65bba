"""Measure every stack in its own environment, behind AWS's emulator and its runtime client."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from benchmarks import avx2_only
from benchmarks.measure import KINDS, PHOTO, ROOT, ROUNDS, WARM_REQUESTS, ask, merge, milliseconds
from interpreter import MB_PER_CORE
from tests.harness.emulator import PATH, emulator_command
from tests.harness.servers import folder_server, free_port, running

MODELS = ROOT / "build/benchmarks"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
DATASET = Path(os.environ.get("CLOTHING_DATASET", ROOT / "clothing-dataset-small"))


@dataclass
class Stack:
    """A function with its environment, lock file, model, and the other modules that it imports."""

    environment: str
    lock: str
    module: str
    model: Path
    imports: tuple

    def python(self):
        return ROOT / self.environment / "bin/python"


ours = partial(
    Stack,
    module="lambda_function",
    model=ROOT / "clothing_model.tflite",
    imports=("keras_image_helper", "image_source", "interpreter"),
)
onnx = partial(Stack, ".venv-onnx", "onnx", "onnx_function", imports=("keras_image_helper", "onnxruntime"))
STACKS = {
    "course": Stack(
        ".venv-3.8",
        "python3.8",
        "course_function",
        MODELS / "lesson.tflite",
        ("keras_image_helper", "tflite_runtime.interpreter"),
    ),
    "onnx-lesson": onnx(model=MODELS / "lesson.onnx"),
    "ours-3.8": ours(".venv-3.8", "python3.8"),
    "ours-3.13": ours(".venv-3.13", "python3.13"),
    "onnx-float32": onnx(model=MODELS / "float32.onnx"),
    "onnx-int8": onnx(model=MODELS / "int8.onnx"),
    "keras": Stack(
        ".venv-keras",
        "keras",
        "keras_function",
        MODELS / "float32.keras",
        ("keras_image_helper", "keras", "tensorflow"),
    ),
}


def process_options(stack, kind="all", cores=1):
    """Return Popen's arguments that run a process of the stack on the last `cores` cores of this machine."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "MODEL": str(stack.model), **KINDS[kind]}
    environ.update(THREADS=str(cores), AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(MB_PER_CORE * cores))
    environ["ALLOW_LOOPBACK"] = "true"  # the photo's URL is on loopback
    environ["PYTHONDONTWRITEBYTECODE"] = ""  # keep compiled code, as an image does
    last = range(os.cpu_count())[-cores:]
    pin = partial(os.sched_setaffinity, 0, last)
    return {"env": environ, "cwd": ROOT, "preexec_fn": pin}


def probe(stack, *arguments, kind="all", cores=1):
    """Run probe.py in the stack's environment and return what it measures."""
    command = [stack.python(), ROOT / "benchmarks/probe.py", *map(str, arguments)]
    return json.loads(subprocess.check_output(command, **process_options(stack, kind, cores)).splitlines()[-1])


def peak_megabytes(emulator):
    """Return the peak resident memory of the function's process, which the emulator started."""
    function = subprocess.check_output(["pgrep", "--parent", str(emulator.pid)], text=True).split()[0]
    status = Path(f"/proc/{function}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def serve(stack, kind, photo_url):
    """Start the stack; return the milliseconds of its first and of its warm answers, and its peak memory."""
    port = free_port()
    url = f"http://127.0.0.1:{port}{PATH}"
    command = emulator_command(port, stack.python(), f"{stack.module}.lambda_handler")
    with requests.Session() as session:
        post = partial(ask, session, url)
        started = time.perf_counter()
        emulator = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, **process_options(stack, kind)
        )
        try:
            post({"url": photo_url})
            result = {"cold": 1000 * (time.perf_counter() - started)}
            result["url"] = [milliseconds(post, {"url": photo_url}) for _ in range(WARM_REQUESTS)]
            result["peak MB"] = peak_megabytes(emulator)
        finally:
            emulator.terminate()
            emulator.wait()
    return result


def measure_times():
    """Return {(stack, kind): {measure: summary}} on one core; the stacks take turns in every round."""
    os.sched_setaffinity(0, range(os.cpu_count())[:-1] or [0])
    cases = [(name, kind) for name in STACKS for kind in KINDS]
    served, parts = ({case: [] for case in cases} for _ in range(2))
    with running(folder_server(PHOTO.parent)) as server:
        photo_url = f"http://127.0.0.1:{server.server_port}/{PHOTO.name}"
        for number in range(ROUNDS):
            for name, kind in cases:
                print(f"round {number + 1} of {ROUNDS}: {name}, {kind}", file=sys.stderr)
                stack = STACKS[name]
                arguments = ("times", stack.module, photo_url, *stack.imports)
                served[name, kind].append(serve(stack, kind, photo_url))
                parts[name, kind].append(probe(stack, *arguments, kind=kind))
    return {case: {**merge(served[case]), "parts": merge(parts[case])} for case in cases}


def describe(stack):
    """Return the megabytes of a stack's packages and model, and a trained model's accuracy on the test photos."""
    if "AVX2" in KINDS:
        avx2_only.check([stack.python()], process_options(stack, "AVX2")["env"])
    packages = probe(stack, "size", ROOT / f"requirements/{stack.lock}.txt")
    result = {"packages MB": round(packages / 1e6, 1), "model MB": round(stack.model.stat().st_size / 1e6, 1)}
    if DATASET.is_dir() and stack.model.stem != "lesson":
        result["accuracy"] = round(probe(stack, "accuracy", stack.module, DATASET / "test", cores=os.cpu_count()), 4)
    return result
