"""The committed inference notebook has the outputs of a whole run, and runs as a script on a fresh clone."""

import ast
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from conftest import PHOTOS, ROOT

from lambda_function import CLASSES, lambda_handler

NOTEBOOK = ROOT / "notebooks/inference.ipynb"
CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
CODE = [cell for cell in CELLS if cell.cell_type == "code"]
OUTPUTS = [output for cell in CODE for output in cell.outputs]
PRINTED = "\n".join(output.get("text", "") for output in OUTPUTS)


def test_it_was_committed_as_executed_from_top_to_bottom():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    assert {output.output_type for output in OUTPUTS} <= {"stream", "display_data"}
    assert not [output for output in OUTPUTS if output.get("name") == "stderr"]
    assert "Keras and float32 are the trained model" in PRINTED


def test_every_plot_is_there():
    drawing = [cell for cell in CODE if "plt.subplots(" in cell.source]
    assert drawing
    for cell in drawing:
        assert ["image/png" in output.get("data", ()) for output in cell.outputs].count(True) == 1


def test_cells_are_short_and_not_empty():
    lengths = [len(cell.source.splitlines()) for cell in CODE]
    assert min(lengths) > 0
    assert max(lengths) <= 15


def test_the_numbers_in_its_prose_are_in_its_outputs():
    prose = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
    numbers = set(re.findall(r"\b\d+\.\d+(?:e-\d+)?\b|\b\d+(?= MB)", prose)) - {"3.8"}  # of Python
    assert numbers
    assert {number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", PRINTED)} == set()


def test_it_names_the_classes_and_shows_the_scores_that_the_function_answers_with(trousers):
    (names,) = re.findall(r"^CLASSES = (\[.*?\])", "\n".join(cell.source for cell in CODE), re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"\{\"dress\".*?\}", PRINTED, re.DOTALL)
    assert ast.literal_eval(names) == CLASSES
    # Another processor's int8 kernels may round differently.
    assert json.loads(shown) == pytest.approx(lambda_handler(trousers, None), abs=0.5)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Run the notebook as a script in a fresh clone without a trained Keras model; return what it prints."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        if path.suffix in (".py", ".tflite", ".json") or path.name == "tests":
            (folder / path.name).symlink_to(path)
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    (notebooks / NOTEBOOK.name).write_bytes(NOTEBOOK.read_bytes())
    environment = {**os.environ, "MPLBACKEND": "Agg", "PROCESSES": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("KERAS_MODEL", None)
    convert = [sys.executable, "-m", "nbconvert", "--to", "script", NOTEBOOK.name]
    subprocess.run(convert, cwd=notebooks, env=environment, check=True, stderr=subprocess.DEVNULL)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    script = [sys.executable, notebooks / "inference.py"]
    result = subprocess.run(script, cwd=notebooks, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == files
    return result.stdout


def test_without_a_trained_keras_model_it_says_what_stands_in(clone):
    assert "Keras and float32 are untrained, int8 is compared with kept answers" in clone


def test_the_converted_files_agree_with_keras(clone):
    found = re.findall(r"^TFLite (\w+) +largest difference (\S+), .* same class as Keras (\d+)", clone, re.MULTILINE)
    differences = {name: (float(difference), int(same)) for name, difference, same in found}
    assert differences.keys() == {"float32", "int8"}
    assert differences["float32"][0] < 1e-3
    # Another processor's int8 kernels may round differently.
    assert differences["int8"][0] < 1.5
    assert differences["int8"][1] == len(PHOTOS)


def test_the_function_needs_neither_tensorflow_nor_keras(clone):
    assert clone.splitlines()[-1] == "modules of TensorFlow and Keras: 0"
