"""What the pages say is what was measured, and they name every code."""

import json

from conftest import FOLDER

from errors import STATUS

TEXT = "".join((FOLDER / name).read_text() for name in ("README.md", "REFERENCE.md"))
COSTS = json.loads((FOLDER / "costs.json").read_text())


def row(start):
    """Return the cells of the row that starts so."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip(" *") for cell in line.split("|")[2:-1]]


def test_a_minute_costs_what_was_measured():
    for stage in ("track", "recognise"):
        assert row(f"`{stage}`") == [str(COSTS[stage]["seconds"]), f"{COSTS[stage]['dollars']:.6f}"]
        assert COSTS[stage]["dollars"] == round(COSTS[stage]["seconds"] * 1769 / 1024 * 0.0000166667, 6)
    assert row("`describe`") == ["", f"{COSTS['describe']['dollars']:.6f}"]
    assert f"{COSTS['describe']['garments a minute']} garments" in TEXT
    assert row("together") == ["", f"{COSTS['dollars']:.5f}"]


def test_every_code_is_named():
    unnamed = {"unsupported_event", "host_not_allowed"}  # of events that nobody sends, and of the local server
    assert all(f"`{code}`" in TEXT for code in set(STATUS) - unnamed)
