"""The README's numbers are those that were measured, and the goals are kept that it says are."""

import json

import pytest
from conftest import FOLDER

pytest.importorskip("tests.harness", reason="the benchmark needs the repository")

from benchmark import SIZES, tables

MEASURED = json.loads((FOLDER / "measured.json").read_text())


def test_the_tables_are_what_was_measured():
    assert tables(MEASURED) in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("kind", MEASURED)
def test_a_core_hardly_waits_for_s3(kind):
    assert MEASURED[kind]["sizes"][str(SIZES[-1])] > 0.8 * MEASURED[kind]["inference"]
