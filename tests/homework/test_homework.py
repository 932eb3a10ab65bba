"""The homework's solutions run, have the outputs of a whole run, and answer with options of the questions."""

import re

import nbformat
import pytest
from conftest import ROOT, RUNNING_VERSION, python_of
from nbclient import NotebookClient

HOMEWORK = ROOT / "homework"
SOLUTIONS = HOMEWORK / "solutions.ipynb"
QUESTIONS = re.split(r"^## Question ", (HOMEWORK / "homework.md").read_text(), flags=re.MULTILINE)[1:]
ANSWER = re.compile(r"^(\d): measured .*, so ([A-D]): (.+)$", re.MULTILINE)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read_answers(notebook):
    """Return the answers that the notebook printed, {question: (letter, option)}."""
    printed = "\n".join(output.get("text", "") for cell in code_cells(notebook) for output in cell.outputs)
    return {int(number): (letter, option) for number, letter, option in ANSWER.findall(printed)}


@pytest.fixture(scope="module")
def committed():
    """Return the committed notebook."""
    return nbformat.read(SOLUTIONS, as_version=4)


@pytest.fixture(scope="module")
def options():
    """Return the options in homework.md, {question: {letter: option}}."""
    return {int(text[0]): dict(re.findall(r"^- \*\*(\w)\*\* (.+)$", text, re.MULTILINE)) for text in QUESTIONS}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run a copy of the notebook in a temporary folder for its files, and return it."""
    python_of(RUNNING_VERSION)
    notebook = nbformat.read(SOLUTIONS, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTPUT_FOLDER", str(tmp_path_factory.mktemp("output")))
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": HOMEWORK}}).execute()
    return notebook


def test_the_solutions_run_to_their_end_and_choose_what_was_committed(committed, executed):
    assert read_answers(executed) == read_answers(committed)


def test_the_solutions_were_committed_as_executed_from_top_to_bottom(committed):
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert cells[-1].outputs[0].text == "all six answers hold\n"


def test_each_of_six_questions_has_four_options(options):
    assert list(options) == [1, 2, 3, 4, 5, 6]
    for choices in options.values():
        assert list(choices) == ["A", "B", "C", "D"]
        assert len(set(choices.values())) == 4


def test_the_answers_are_among_the_options(committed, options):
    answers = read_answers(committed)
    assert list(answers) == list(options)
    assert all(options[question][letter] == option for question, (letter, option) in answers.items())


def test_the_model_to_start_from_is_small():
    assert (HOMEWORK / "hats-or-shoes.keras").stat().st_size < 5e6


def test_cells_are_short(committed):
    assert max(len(cell.source.splitlines()) for cell in code_cells(committed)) <= 15


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (HOMEWORK / "homework.md").read_text())
    assert links
    assert [link for link in links if not (HOMEWORK / link).exists()] == []
