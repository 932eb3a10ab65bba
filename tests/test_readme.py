"""What the README shows is what the project answers."""

import json
import re

import nbformat
import pytest
from conftest import ROOT

from lambda_function import lambda_handler

README = (ROOT / "README.md").read_text()
NOTEBOOK = nbformat.read(ROOT / "notebooks/train_and_convert.ipynb", as_version=4)
PRINTED = "".join(output.get("text", "") for cell in NOTEBOOK.cells for output in cell.get("outputs", []))


def test_the_scores_are_the_answer_for_the_photo_of_trousers(trousers):
    # Another processor's int8 kernels may round a logit a few steps of 0.07 away.
    answer = pytest.approx(lambda_handler(trousers, None), abs=0.5)
    shown = [json.loads(text) for text in re.findall(r"^\{\s*\"dress\".*?\}$", README, re.DOTALL | re.MULTILINE)]
    assert len(shown) == 2
    assert all(scores == answer for scores in shown)


def printed(pattern):
    """Return the first group of a pattern in what the notebook printed."""
    return re.search(pattern, PRINTED, re.MULTILINE)[1]


def test_sizes_and_accuracies_are_those_of_the_notebook():
    for row, suffix, name in (
        ("Keras, float32", "keras", "Keras"),
        ("TFLite, int8: `clothing_model.tflite`", "tflite", "int8"),
    ):
        size = printed(rf"^clothing_model\.{suffix}: ([\d.]+ MB)")
        accuracy = printed(rf"^{name} +test accuracy ([\d.]+)")
        assert f"| {row} | {size} | {accuracy} |" in README


def test_the_notebook_made_the_committed_model():
    megabytes = (ROOT / "clothing_model.tflite").stat().st_size / 1e6
    assert f"clothing_model.tflite: {megabytes:.1f} MB" in PRINTED


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
