"""The numbers in README.md and REFERENCE.md are those that were measured."""

import json

from conftest import FOLDER

from answers import STATUS

METRICS = json.loads((FOLDER / "metrics.json").read_text())
TEXT = "".join((FOLDER / name).read_text() for name in ("README.md", "REFERENCE.md"))


def row(start):
    """Return the cells of the table row that starts with a text."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_translation_is_as_good_as_measured():
    for name, title in (("zh-en", "Chinese to English"), ("en-zh", "English to Chinese")):
        scores, speed = METRICS["translation"][name], METRICS["speed"]
        assert row(title) == [
            f"{scores['BLEU int8']:.1f} ({scores['BLEU float32']:.1f})",
            f"{scores['CHRF int8']:.1f} ({scores['CHRF float32']:.1f})",
            f"{speed[f'{name}, in batches of 32']['sentences_a_second']:,.0f}",
            f"{speed[f'{name}, singly']['sentences_a_second']:,.0f}",
        ]
        assert scores["BLEU signature"] in TEXT


def test_functions_are_as_fast_as_measured():
    for script in ("translate", "segment"):
        measured = METRICS["image"][script]
        assert row(f"`{script}`") == [
            f"{measured['cold_ms']:,} ms", f"{measured['warm_ms']:.0f} ms", f"{measured['peak_mb']} MB",
        ]  # fmt: skip
    assert f"{METRICS['image']['image_mb_over_base']:.0f} MB over its base" in TEXT


def test_segmentation_is_as_measured():
    measured = METRICS["segmentation"]
    assert f"{measured['cut_as_jieba_cuts']:,} of {measured['sentences']:,} sentences" in TEXT
    assert f"{measured['characters_a_second, the function']:,} characters a second" in TEXT


def test_a_million_sentences_cost_what_their_seconds_cost():
    for name in ("zh-en", "en-zh"):
        for how, batch in (("in batches of 32", 32), ("singly", 1)):
            seconds = 1e6 / METRICS["speed"][f"{name}, {how}"]["sentences_a_second"]
            dollars = seconds * 1769 / 1024 * 0.0000166667 + 1e6 / batch * (0.20 + 1.00) / 1e6
            assert f"${dollars:.2f}" in TEXT


def test_every_error_is_named():
    assert all(f"`{code}`" in TEXT for code in STATUS)
