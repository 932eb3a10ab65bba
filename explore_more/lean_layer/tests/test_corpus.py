"""The splits share no sentence."""

import zipfile

import pytest
from corpus import key, read_pairs, split_pairs


@pytest.fixture
def pairs(tmp_path):
    """Pairs; many of them share a sentence."""
    lines = [f"Number {i // 3}!\tZahl {i // 2}." for i in range(600)] + ["Go.\tGeh."] * 2 + ["x" * 400 + "\tlang"]
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        archive.writestr("deu.txt", "\n".join(lines))
    return read_pairs(tmp_path / "pairs.zip")


def test_pairs_are_read_once_and_long_ones_left_out(pairs):
    assert pairs[0] == ("Zahl 0.", "Number 0!")
    assert len(pairs) == len(set(pairs))
    assert max(len(pair.english) for pair in pairs) <= 300


def test_no_sentence_of_either_language_is_in_two_splits(pairs):
    splits = split_pairs(pairs, {"test": 50, "validation": 20})
    assert [len(splits[name]) for name in ("test", "validation")] == [50, 20]
    assert len(splits["train"]) > 100
    for side in (0, 1):
        keys = [{key(pair[side]) for pair in split} for split in splits.values()]
        assert sum(map(len, keys)) == len(set.union(*keys))


def test_the_same_sentence_in_other_letters_is_the_same():
    assert key("Geh, Tom!") == key("geh Tom.")
    assert key("…") == "…"


def test_the_splits_are_the_same_each_time(pairs):
    assert split_pairs(pairs, {"test": 50}) == split_pairs(pairs, {"test": 50})
