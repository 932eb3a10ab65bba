"""What README.md and docs/ show is what the project answers."""

import json
import re

import pytest
from conftest import ROOT

from lambda_function import lambda_handler

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text()


def test_the_scores_are_the_answer_for_the_photo_of_trousers(trousers):
    # Another processor's int8 kernels may round a logit a few steps of 0.06 away.
    answer = pytest.approx(lambda_handler(trousers, None), abs=0.5)
    (shown,) = re.findall(r"^\{\n  \"dress\".*?^\}$", README, re.DOTALL | re.MULTILINE)
    assert json.loads(shown) == answer


def test_the_readme_shows_predict_as_it_is():
    (shown,) = re.findall(r"^```python\n(.*?def predict.*?)^```$", README, re.DOTALL | re.MULTILINE)
    code = (ROOT / "lambda_function.py").read_text()
    assert all(part in code for part in shown.split("\n\n"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = page.read_text()
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"


def anchors(text):
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
