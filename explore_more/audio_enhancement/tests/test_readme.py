"""The README's table is the one that `make quality` measured."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent


def test_the_table_is_what_was_measured():
    measured = json.loads((FOLDER / "quality.json").read_text())
    text = (FOLDER / "README.md").read_text()
    for way, (si_sdr, pesq, stoi) in measured["mean"].items():
        row = next(
            line for line in text.splitlines() if line.strip("| *").startswith(f"{way} ") or f"**{way}**" in line
        )
        assert [cell.strip(" *") for cell in row.split("|")[2:5]] == [f"{si_sdr:.2f}", f"{pesq:.2f}", f"{stoi:.3f}"]


def test_ours_beats_the_others_on_each_measure():
    mean = json.loads((FOLDER / "quality.json").read_text())["mean"]
    for other in ("noisy", "RNNoise", "noisereduce"):
        assert all(a > b for a, b in zip(mean["ours"], mean[other], strict=True))
