"""The committed model on every runtime in the requirements, and the function in AWS's emulator."""

import json
import subprocess
import sys

import numpy as np
import pytest
import requests
from conftest import (
    LOCKED_PYTHONS,
    PHOTOS,
    REQUIRED_PYTHONS,
    ROOT,
    RUNNING_VERSION,
    TROUSERS,
    encode,
    python_of,
    serving,
)

from convert_model import TOLERANCE, check_parity
from lambda_function import CLASSES
from tests.harness.servers import free_port

KERAS_LOGITS = json.loads((ROOT / "tests/keras_logits.json").read_text())


@pytest.fixture(params=REQUIRED_PYTHONS or LOCKED_PYTHONS)
def python(request):
    """The interpreter of the environment of each Python version in turn."""
    return python_of(request.param)


def test_the_model_answers_as_keras_does(python):
    command = [python, ROOT / "tests/predict_photos.py", *PHOTOS]
    answers = [json.loads(line) for line in subprocess.check_output(command, text=True).splitlines()]
    assert all(list(answer) == CLASSES for answer in answers)
    expected = np.array([KERAS_LOGITS[photo.name] for photo in PHOTOS])
    actual = np.array([list(answer.values()) for answer in answers])
    _, agreement = check_parity(expected, actual, TOLERANCE["int8"])
    assert agreement >= 0.9
    highest = actual.max(axis=1)  # many photos would share it if the range of the last int8 layer were too narrow
    assert np.isclose(highest, highest.max()).sum() == 1


def test_the_emulator_answers_over_http(python, tmp_path):
    with (tmp_path / "log").open("w+") as log, serving([python, "-m", "web.serve"], free_port(), log) as (process, url):
        scores = requests.post(url, json={"image": encode(TROUSERS.read_bytes())}, timeout=60).json()
        assert max(scores, key=scores.get) == "pants"
        assert json.dumps(scores, indent=2) in process.printed

        error = requests.post(url, json={"url": "file:///etc/passwd"}, timeout=60).json()
        assert error["errorType"] == "unsupported_scheme"

        event = {"body": json.dumps({"image": encode(TROUSERS.read_bytes())}), "requestContext": {"stage": "test"}}
        response = requests.post(url, json=event, timeout=60).json()
        assert json.loads(response["body"]) == scores


def test_the_client_classifies_every_photo_through_the_emulator(tmp_path):
    server = [python_of(RUNNING_VERSION), "-m", "web.serve"]
    with (tmp_path / "log").open("w+") as log, serving(server, free_port(), log) as (_, url):
        command = [sys.executable, ROOT / "test.py", "--json", *PHOTOS]
        output = subprocess.check_output(command, env={"PREDICT_URL": url}, text=True)
    best = [json.loads(line)["class"] for line in output.splitlines()]
    keras_best = [CLASSES[np.argmax(KERAS_LOGITS[photo.name])] for photo in PHOTOS]
    assert np.mean([a == b for a, b in zip(best, keras_best)]) >= 0.9
