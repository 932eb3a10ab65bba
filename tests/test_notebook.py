"""The training notebook runs, and the committed one has the outputs of a whole run."""

import ast
import hashlib
import json
import os
import re

import nbformat
import pytest
from conftest import NOTEBOOK, PHOTOS, ROOT, code_cells
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lambda_function import CLASSES

INTERRUPT = """
whole_epoch = train_epoch


def train_epoch(model, moving_average, cycle, epoch):
    if epoch == 1:
        raise KeyboardInterrupt
    return whole_epoch(model, moving_average, cycle, epoch)
"""


FEWER_SIZES = "MILLISECONDS = {size: MILLISECONDS[size] for size in (192, 216)}"


def insert_after(notebook, words, code):
    """Insert a cell after the one that contains these words."""
    (index,) = [i for i, cell in enumerate(notebook.cells) if words in cell.source]
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(code))


def execute(notebook):
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Interrupt a quick run in its second epoch, run the notebook again, and return the folder that it wrote."""
    folder = tmp_path_factory.mktemp("output")
    for photo in PHOTOS:
        for split in ("train",) if photo.stem.endswith("1") else ("validation", "test"):
            (folder / split / photo.parent.name).mkdir(parents=True, exist_ok=True)
            (folder / split / photo.parent.name / photo.name).symlink_to(photo)
    (folder / "extra").mkdir()
    senders = "".join(f"{photo.parent.name}/{photo.name},{sender}\n" for sender, photo in enumerate(PHOTOS))
    (folder / "extra/senders.csv").write_text(f"photo,sender_id\n{senders}")
    for name in {photo.parent.name for photo in PHOTOS}:
        (folder / "extra" / name).symlink_to(ROOT / "tests/photos" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOTHING_DATASET", str(folder))
        patch.setenv("EXTRA_PHOTOS", str(folder / "extra"))
        patch.setenv("STRANGERS", str(ROOT / "web"))
        patch.setenv("OUTPUT_FOLDER", str(folder))
        patch.setenv("EPOCHS", "2")
        # After two epochs on ten photos, the logits differ by less than one int8 step.
        patch.setenv("TOLERANCE", "10")
        patch.setenv("XCEPTION_WEIGHTS", os.environ.get("XCEPTION_WEIGHTS", "none"))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        insert_after(notebook, "def train_epoch(", INTERRUPT)
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            execute(notebook)
        (finished,) = folder.glob("build/training/*/cycle-1/epochs.json")
        finished.with_name("interrupted.json").write_text(finished.read_text())
        patch.setenv("FULL", "1")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        insert_after(notebook, "MILLISECONDS = {", FEWER_SIZES)
        execute(notebook)
    return folder


def test_every_cell_runs_on_the_photos_of_the_repository(output):
    assert (output / "clothing_model.tflite").stat().st_size > 20e6
    assert (output / "build/clothing_model.keras").exists()
    assert len((output / "tests/keras_logits.json").read_text().splitlines()) == len(PHOTOS) + 2


def test_an_interrupted_run_resumes_after_its_last_finished_epoch(output):
    (folder,) = output.glob("build/training/*/cycle-1")
    before = json.loads((folder / "interrupted.json").read_text())
    epochs = json.loads((folder / "epochs.json").read_text())
    assert (len(before), len(epochs)) == (1, 2)
    assert epochs[:1] == before
    assert [path.name for path in folder.glob("*.h5")] == ["epoch-2.weights.h5"]


def test_the_metrics_are_of_the_model_that_was_written(output):
    metrics = json.loads((output / "metrics.json").read_text())
    committed = json.loads((ROOT / "metrics.json").read_text())
    assert metrics["sha256"] == hashlib.sha256((output / "clothing_model.tflite").read_bytes()).hexdigest()
    photos = metrics["photos"]
    assert [photos[split] for split in ("train", "validation", "test")] == [10, 10, 10]
    assert photos["extra"] + photos["children"] == len(PHOTOS)
    assert min(photos["extra"], photos["children"]) > 0
    assert metrics.keys() == committed.keys()


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


def test_the_numbers_in_its_prose_are_in_its_outputs(printed):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    numbers = set(re.findall(r"\b\d\.\d{3,}\b|\b\d+\.\d %|\b\d[\d.]* MB", prose))
    assert numbers
    assert {number for number in numbers if number.replace(" %", "%") not in printed} == set()


def test_cells_are_short():
    assert max(len(cell.source.splitlines()) for cell in code_cells()) <= 15
