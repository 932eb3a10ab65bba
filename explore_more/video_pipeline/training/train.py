"""Train by the conventions of SageMaker: the entry point of the training image.

    docker run -v $PWD/data:/opt/ml/input/data/training -v $PWD/model:/opt/ml/model training

The hyperparameter `task` says what to train. Without one the data do: videos with their truth tune the tracker, and
photos in folders of classes train the classifier. The result is in /opt/ml/model, with report.json, which says whether
the result is accepted. A failure is a sentence in /opt/ml/output/failure, and exit code 1.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import tune_classifier
import tune_tracker

from errors import RequestError

TASKS = {"tracker": tune_tracker, "classifier": tune_classifier}
ROOT = Path(os.environ.get("SAGEMAKER_ROOT", "/opt/ml"))


def read_options(path):
    """Return the hyperparameters, which SageMaker gives as strings; none where there is no file."""
    options = json.loads(path.read_text() or "{}") if path.exists() else {}
    if not isinstance(options, dict):
        raise ValueError("The hyperparameters must be a JSON object.")
    return options


def choose_task(options, data):
    """Return the name of the task."""
    task = options.get("task") or ("tracker" if any(data.rglob("*.truth.json")) else "classifier")
    if task not in TASKS:
        raise ValueError(f"The hyperparameter task is {task!r}; it must be tracker or classifier.")
    return task


def train(root=ROOT):
    """Train, write the model and its report, and return the report; raise ValueError for data that do not do."""
    inputs, model = root / "input", root / "model"
    data = inputs / "data/training"
    if not data.is_dir() or not any(data.iterdir()):
        raise ValueError(
            "The channel training is empty: it must hold labelled videos, or photos in folders of classes."
        )
    options = read_options(inputs / "config/hyperparameters.json")
    task = choose_task(options, data)
    model.mkdir(parents=True, exist_ok=True)
    report = {"task": task, **TASKS[task].train(data, inputs / "data/current", model, options)}
    (model / "report.json").write_text(json.dumps(report, indent=1))
    return report


def main():
    try:
        print(json.dumps(train()))
    except Exception as error:
        expected = isinstance(error, (ValueError, OSError, RequestError))
        sentence = str(error) if expected else f"The training failed: {type(error).__name__}: {error}"
        (ROOT / "output").mkdir(parents=True, exist_ok=True)
        (ROOT / "output/failure").write_text(sentence[:1024])  # SageMaker shows no more as FailureReason
        if not expected:
            traceback.print_exc()
        sys.exit(f"train.py: {sentence}")


if __name__ == "__main__":
    main()
