"""The README shows the numbers that were measured."""

import json

import pytest
from conftest import FOLDER

pytest.importorskip("tests.harness", reason="the benchmark needs the repository")

from benchmark import tables


def test_the_tables_are_what_was_measured():
    measured = json.loads((FOLDER / "measured.json").read_text())
    assert tables(measured) in (FOLDER / "README.md").read_text()
