"""The splits share no sentence."""

import gzip

import pytest
from corpus import key, read_pairs, split_pairs


@pytest.fixture
def pairs(tmp_path):
    """Pairs; many of them share a sentence."""
    rows = (
        [f"Number {i // 3}!\t數字{i // 2}。\tby {i}" for i in range(600)]
        + ["Go.\t走。\tby x"] * 2
        + ["x" * 400 + "\t长\ty"]
    )
    with gzip.open(tmp_path / "pairs.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows))
    return read_pairs(tmp_path / "pairs.tsv.gz")


def test_pairs_are_simplified_read_once_and_long_ones_left_out(pairs):
    assert pairs[0] == ("数字0。", "Number 0!")
    assert len(pairs) == len(set(pairs))
    assert max(len(pair.en) for pair in pairs) <= 300


def test_no_sentence_of_either_language_is_in_two_splits(pairs):
    splits = split_pairs(pairs, {"test": 50, "validation": 20})
    assert [len(splits[name]) for name in ("test", "validation")] == [50, 20]
    assert len(splits["train"]) > 100
    for side in (0, 1):
        keys = [{key(pair[side]) for pair in split} for split in splits.values()]
        assert sum(map(len, keys)) == len(set.union(*keys))


def test_the_same_sentence_in_other_letters_is_the_same():
    assert key("Go, Tom!") == key("go Tom.")
    assert key("你好！") == key("你 好。")
    assert key("…") == "…"


def test_the_splits_are_the_same_each_time(pairs):
    assert split_pairs(pairs, {"test": 50}) == split_pairs(pairs, {"test": 50})
