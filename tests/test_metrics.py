"""metrics.json agrees with the committed model, the notebook and the pages that show it."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from image_source import decode
from lambda_function import CLASSES, model, preprocess

METRICS = json.loads((ROOT / "metrics.json").read_text())
README = (ROOT / "README.md").read_text()
DATASET = Path(os.environ.get("CLOTHING_DATASET", ROOT / "clothing-dataset-small"))
SPLITS = ("validation", "children", "test")
ROWS = {
    "Keras": "Keras, float32",
    "float32": "TFLite, float32",
    "int8": "TFLite, int8: `clothing_model.tflite`",
}


def test_they_were_measured_on_the_committed_model():
    data = (ROOT / METRICS["file"]).read_bytes()
    assert METRICS["sha256"] == hashlib.sha256(data).hexdigest()
    assert METRICS["bytes"]["int8"] == len(data)


@pytest.mark.parametrize("name", ROWS)
def test_the_notebook_printed_them(name, printed):
    for split in SPLITS:
        accuracy, loss = METRICS["accuracy"][name][split], METRICS["loss"][name][split]
        same = METRICS["same top class as Keras"][name][split]
        line = f"{split:10} {name:7} accuracy {accuracy:.4f}, loss {loss:.4f}, same top class as Keras {same:.1%}"
        assert line in printed


@pytest.mark.parametrize("name", ROWS)
def test_the_model_card_shows_them(name):
    size = f"{METRICS['bytes'][name] / 1e6:.1f} MB"
    accuracies = " | ".join(f"{METRICS['accuracy'][name][split]:.4f}" for split in SPLITS)
    assert f"| {ROWS[name]} | {size} | {accuracies} |" in (ROOT / "docs/model_card.md").read_text()


def test_the_notebook_found_what_turns_scores_into_probabilities(printed):
    temperature, error = METRICS["temperature"], METRICS["calibration error"]["validation"]
    assert f"temperature {temperature:.2f}: expected calibration error {error:.4f}" in printed
    assert f"not sure below {METRICS['not sure below']:.2f}: " in printed


def test_the_readme_tells_callers_how_to_use_them():
    assert f"math.exp(score / {METRICS['temperature']})" in README
    assert f">= {METRICS['not sure below']} else" in README


def test_the_confusion_matrix_gives_the_accuracies():
    matrix = np.array(METRICS["int8 on test"]["confusion matrix"])
    accuracy_of_class = METRICS["int8 on test"]["accuracy of each class"]
    assert matrix.sum() == METRICS["photos"]["test"]
    assert matrix.trace() / matrix.sum() == pytest.approx(METRICS["accuracy"]["int8"]["test"], abs=1e-4)
    assert list(accuracy_of_class) == CLASSES
    assert matrix.diagonal() / matrix.sum(axis=1) == pytest.approx(list(accuracy_of_class.values()), abs=1e-4)


@pytest.mark.skipif(not DATASET.is_dir(), reason="needs clothing-dataset-small")
def test_scoring_the_test_split_again_gives_the_confusion_matrix():
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    for path in (DATASET / "test").glob("*/*.jpg"):
        logits = model(preprocess(decode(path.read_bytes())))
        matrix[CLASSES.index(path.parent.name), logits.argmax()] += 1
    moved = np.abs(matrix - METRICS["int8 on test"]["confusion matrix"]).sum() / 2
    # Another processor's int8 kernels may round differently and move a photo between two close classes.
    assert matrix.sum() == METRICS["photos"]["test"]
    assert moved <= 4
