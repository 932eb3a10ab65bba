"""Layers from three requirements files; each one is proven by an answer."""

import json
import subprocess
import sys

import pytest
from conftest import FOLDER

ROOT = FOLDER.parent.parent
CLASSIFIER_PYTHON = ROOT / ".venv-3.13/bin/python"
CLASSIFIER = ["--without", "backports-strenum,flatbuffers,ml-dtypes,protobuf,tqdm,typing-extensions"]


def create(name, folder, *arguments):
    """Run create_layer.py for one of the requirements files; return what it prints."""
    command = [sys.executable, FOLDER / "layer/create_layer.py", FOLDER / f"layer/requirements/{name}.txt", *arguments]
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout


def sizes(folder, name):
    return json.loads((folder / f"build/{name}.json").read_text())


def test_the_translation_layer_is_a_fraction_and_the_same_twice(tmp_path):
    layers = []
    for _ in range(2):
        create("translation", tmp_path, "--without", "numpy,pyyaml", "--prove", FOLDER / "layer/proofs/translation.py")
        layers.append((tmp_path / "build/translation.zip").read_bytes())
    assert layers[0] == layers[1]
    report = sizes(tmp_path, "translation")
    assert report["unzipped"] < 0.45 * sum(report["before"].values())


@pytest.mark.skipif(not CLASSIFIER_PYTHON.exists(), reason="needs the classifier, and its `make test` before")
def test_the_classifier_gives_the_same_scores_from_a_layer(tmp_path):
    proof = FOLDER / "layer/proofs/classifier.py"
    printed = create("classifier", tmp_path, *CLASSIFIER, "--prove", proof)
    own = subprocess.check_output([CLASSIFIER_PYTHON, proof], text=True).splitlines()[-1]
    assert own in printed.splitlines()
    assert len(json.loads(own)) == 10


def test_scikit_learn_fits_and_fits_a_third_when_nested(tmp_path):
    proof = FOLDER / "layer/proofs/scikit-learn.py"
    assert "[True, False]" in create("scikit-learn", tmp_path, "--prove", proof)
    flat = sizes(tmp_path, "scikit-learn")["unzipped"]
    assert "[True, False]" in create("scikit-learn", tmp_path, "--prove", proof, "--nested")
    assert sizes(tmp_path, "scikit-learn")["unzipped"] < 0.4 * flat


def test_a_layer_for_graviton_is_made_on_any_machine(tmp_path):
    printed = create("translation", tmp_path, "--without", "numpy,pyyaml", "--architecture", "arm64")
    assert "proof: not run: no Python 3.13 on Linux arm64 here" in printed or "proof: imported" in printed
