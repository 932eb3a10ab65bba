"""The training notebook runs, and was committed as it ran."""

import ast
import os

import nbformat
import pytest
from conftest import PHOTOS, ROOT
from nbclient import NotebookClient

from lambda_function import CLASSES

NOTEBOOK = ROOT / "notebooks/train_and_convert.ipynb"


def code_cells():
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


def test_every_cell_runs_on_the_photos_of_the_repository(tmp_path, monkeypatch):
    for split in ("train", "validation", "test"):
        (tmp_path / split).symlink_to(ROOT / "tests/photos")
    monkeypatch.setenv("CLOTHING_DATASET", str(tmp_path))
    monkeypatch.setenv("OUTPUT_FOLDER", str(tmp_path))
    monkeypatch.setenv("EPOCHS", "1")
    # After one epoch on twenty photos the logits differ less than int8 can show.
    monkeypatch.setenv("TOLERANCE", "10")
    monkeypatch.setenv("XCEPTION_WEIGHTS", os.environ.get("XCEPTION_WEIGHTS", "none"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    assert (tmp_path / "clothing_model.tflite").stat().st_size > 20e6
    assert (tmp_path / "build/clothing_model.keras").exists()
    assert len((tmp_path / "tests/keras_logits.json").read_text().splitlines()) == len(PHOTOS) + 2


def test_it_was_committed_as_executed_from_top_to_bottom():
    cells = code_cells()
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_it_trains_on_the_classes_that_the_function_answers_with():
    for cell in code_cells():
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "CLASSES":
                assert ast.literal_eval(node.value) == CLASSES
                return
    pytest.fail("the notebook assigns no CLASSES")


def test_cells_are_short():
    assert max(len(cell.source.splitlines()) for cell in code_cells()) <= 15
