"""Measure one stack from inside its own process, and print JSON.

python benchmarks/probe.py times MODULE URL IMPORT…   milliseconds of every step, in a new process
python benchmarks/probe.py accuracy MODULE FOLDER     share of the photos FOLDER/<class>/* with the right answer
python benchmarks/probe.py size LOCK                  bytes of the installed packages that a lock file names
"""

import importlib
import importlib.metadata
import json
import sys
import time
from pathlib import Path

CALLS = 10


def milliseconds(function, *arguments):
    """Return the milliseconds that a call takes, and its result."""
    started = time.perf_counter()
    result = function(*arguments)
    return 1000 * (time.perf_counter() - started), result


def steps(name):
    """Return a stack's functions that open a file, download, make a tensor and infer, and its class names."""
    module = importlib.import_module(name)
    if name == "lambda_function":
        source = importlib.import_module("image_source")

        def preprocess(data):
            return module.preprocess(source.decode(data))

        return Path.read_bytes, source.download, preprocess, module.model, module.CLASSES
    rival, base = importlib.import_module("rival"), importlib.import_module("keras_image_helper.base")
    return base.Image.open, base.download_image, rival.preprocessor.convert_to_tensor, module.infer, rival.CLASSES


def times(name, url, *imports):
    """Return the milliseconds of each part of a cold start, and of CALLS warm repetitions of each step."""
    result = {}
    result["imports"] = sum(milliseconds(importlib.import_module, module)[0] for module in imports)
    result["model load"], _ = milliseconds(importlib.import_module, name)
    _, download, preprocess, infer, _ = steps(name)
    tensor = preprocess(download(url))
    result["first inference"], _ = milliseconds(infer, tensor)
    warm = {"download": [], "decode and resize": [], "inference": []}
    for _ in range(CALLS):
        value = url
        for elapsed, step in zip(warm.values(), (download, preprocess, infer)):
            duration, value = milliseconds(step, value)
            elapsed.append(duration)
    return {**result, **warm}


def accuracy(name, folder):
    """Return the share of the photos below `folder` that the stack puts in the class of their folder."""
    open_file, _, preprocess, infer, classes = steps(name)
    right = []
    for path in sorted(Path(folder).glob("*/*.jpg")):
        logits = infer(preprocess(open_file(path)))[0]
        right.append(classes[logits.argmax()] == path.parent.name)
    return sum(right) / len(right)


def size(lock):
    """Return the bytes of the files of every package that `lock` pins."""
    names = [line.split("==")[0] for line in Path(lock).read_text().splitlines() if "==" in line]
    files = [file for name in names for file in importlib.metadata.distribution(name).files]
    return sum(file.locate().stat().st_size for file in files if file.locate().exists())


if __name__ == "__main__":
    measure, *arguments = sys.argv[1:]
    print(json.dumps({"times": times, "accuracy": accuracy, "size": size}[measure](*arguments)))
