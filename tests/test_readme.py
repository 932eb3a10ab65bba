"""What the README shows is what the project answers."""

import json
import re

import pytest
from conftest import ROOT

from lambda_function import lambda_handler

README = (ROOT / "README.md").read_text()


def test_the_scores_are_the_answer_for_the_photo_of_trousers(trousers):
    # Another processor's int8 kernels may round a logit a few steps of 0.06 away.
    answer = pytest.approx(lambda_handler(trousers, None), abs=0.5)
    shown = [json.loads(text) for text in re.findall(r"^\{\s*\"dress\".*?\}$", README, re.DOTALL | re.MULTILINE)]
    shown = [scores for scores in shown if max(scores, key=scores.get) == "pants"]
    assert len(shown) == 3
    assert all(scores == answer for scores in shown)


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
