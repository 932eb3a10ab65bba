"""benchmarks/results.json, its plots and the README agree."""

import json
import re

import pytest
from conftest import ROOT

from benchmarks import report
from benchmarks.containers import SIZES

RESULTS = json.loads((ROOT / "benchmarks/results.json").read_text())
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["stacks", "reasons", "sizes"])
def test_the_readme_shows_the_results(name):
    table = report.tables(RESULTS)[name]
    assert f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in README


@pytest.mark.parametrize("measure", ["url", "cold"])
def test_the_plot_of_the_stacks_shows_the_results(measure):
    shown = set(re.findall(r"> *(\d+) ms<", (ROOT / "benchmarks/stacks.svg").read_text()))
    assert {f"{stack['cores: 1'][measure]['median']:.0f}" for stack in RESULTS["stacks"].values()} <= shown


def test_the_plot_of_the_sizes_and_the_readme_name_the_cheapest():
    choice = report.cheapest(RESULTS["sizes"])
    label = f"{choice['megabytes']} MB, {choice['warm']['median']:.0f} ms"
    assert label in (ROOT / "benchmarks/sizes.svg").read_text()
    assert f"is {choice['megabytes']} MB." in README


def test_the_deployment_has_by_default_the_smallest_memory_that_is_measured():
    """Below that, the worst request would kill it: tests/container."""
    choice = {**report.cheapest(RESULTS["sizes"]), "megabytes": min(SIZES)}
    script, template = [(ROOT / name).read_text() for name in ("deploy.sh", "template.yaml")]
    assert f'"${{MEMORY:-{choice["megabytes"]}}}"' in script
    assert f'"${{PYTHON_VERSION:-{choice["python"]}}}"' in script
    assert re.search(r"^  Memory:\n(    .*\n)*    Default: (\d+)$", template, re.MULTILINE)[2] == str(
        choice["megabytes"]
    )


def test_the_readme_adds_up_what_a_million_photos_cost():
    choice = report.cheapest(RESULTS["sizes"])
    computing = round(report.price(choice["warm"]["median"], choice["megabytes"]), 2)
    api, requests, logs = 3.5, report.DOLLARS_PER_MILLION_REQUESTS, 0.25
    total = api + requests + computing + logs
    prices = f"${api:.2f} for the REST API, ${requests:.2f} for requests to Lambda, ${computing:.2f} for computing"
    text = " ".join(README.split())
    assert f"{prices} and about ${logs:.2f} for logs, together **${total:.2f}**" in text
    assert f"20 requests a second all day are ${20 * 86400 / 1e6 * total:.2f}" in text
    milliseconds = choice["warm"]["median"]
    assert f"a request takes {milliseconds:.0f} ms on {choice['megabytes']} MB" in text
    assert f"{milliseconds * 1000:,.0f} seconds × 0.5 GB × $0.0000166667 = ${computing:.2f}" in text


def test_the_readme_gives_the_sizes_of_the_images():
    megabytes = RESULTS["image MB"]
    assert f"{megabytes['3.8']:.0f} MB on Python 3.8 and\n{megabytes['3.13']:.0f} MB on 3.13" in README


def test_a_million_seconds_of_a_gigabyte_cost_what_lambda_asks():
    assert report.price(1000, 1024) == pytest.approx(16.6667)


def test_the_cheapest_size_answers_within_a_second():
    row = {"python": "3.13", "threads": 1}
    slow = {**row, "megabytes": 128, "warm": {"median": 1001}}
    fast = {**row, "megabytes": 512, "warm": {"median": 900}}
    fastest = {**row, "megabytes": 1769, "warm": {"median": 300}}
    assert report.cheapest([slow, fast, fastest]) == fast


def test_all_stacks_were_measured_on_the_committed_model_and_photos():
    metrics = json.loads((ROOT / "metrics.json").read_text())
    for name in ("ours-3.8", "ours-3.13"):
        assert RESULTS["stacks"][name]["accuracy"] == pytest.approx(metrics["accuracy"]["int8"]["test"], abs=0.006)
    assert RESULTS["stacks"]["keras"]["accuracy"] == metrics["accuracy"]["Keras"]["test"]
