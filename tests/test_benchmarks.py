"""benchmarks/results.json agrees with its plots and with the pages that show it, and AVX2 alone is what it says."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from conftest import ROOT

from benchmarks import avx2_only, report
from benchmarks.containers import SIZES
from interpreter import instructions

RESULTS = json.loads((ROOT / "benchmarks/results.json").read_text())


def page(name):
    """Return the text of a page of docs/, in one line."""
    return " ".join((ROOT / f"docs/{name}.md").read_text().split())


@pytest.mark.parametrize("name", report.PAGES)
def test_the_pages_show_the_results(name):
    table = report.tables(RESULTS)[name]
    assert f"<!-- {name} -->\n{table}\n<!-- end of {name} -->" in report.PAGES[name].read_text()


@pytest.mark.parametrize("measure", ["url", "cold"])
def test_the_plot_of_the_stacks_shows_the_results(measure):
    shown = set(re.findall(r"> *(\d+ ms .*?)<", (ROOT / "benchmarks/stacks.svg").read_text()))
    labels = report.kinds(RESULTS).items()
    stacks = RESULTS["stacks"].values()
    assert {f"{stack[kind][measure]['median']:.0f} ms {label}" for stack in stacks for kind, label in labels} <= shown


def test_the_plot_and_the_page_name_the_cheapest_size():
    choice = report.cheapest(RESULTS["sizes"])
    label = f"{choice['megabytes']} MB, {report.promised(choice)['warm']['median']:.0f} ms"
    assert label in (ROOT / "benchmarks/sizes.svg").read_text()
    assert f"is {choice['megabytes']} MB." in page("performance")


def deployed():
    """Return the row of the memory and Python that deploy.sh takes by default."""
    memory, python = [
        re.search(rf"settle {name} +(\S+)", (ROOT / "deploy.sh").read_text())[1]
        for name in ("MEMORY", "PYTHON_VERSION")
    ]
    (row,) = [row for row in RESULTS["sizes"] if (str(row["megabytes"]), row["python"]) == (memory, python)]
    return row


def test_the_deployment_has_by_default_the_smallest_memory_that_is_measured():
    """Below that, the worst request would kill it: tests/container."""
    megabytes = deployed()["megabytes"]
    assert megabytes == min(SIZES)
    template = (ROOT / "template.yaml").read_text()
    assert re.search(r"^  Memory:\n(    .*\n)*    Default: (\d+)$", template, re.MULTILINE)[2] == str(megabytes)


def test_the_pages_add_up_what_a_million_photos_cost():
    megabytes, milliseconds = deployed()["megabytes"], report.promised(deployed())["warm"]["median"]
    computing = round(report.price(milliseconds, megabytes), 2)
    requests, logs = report.DOLLARS_PER_MILLION_REQUESTS, 0.25
    totals = [endpoint + requests + logs + computing for endpoint in (3.5, 1, 0)]
    text = page("deployment")
    assert f"| computing | ${computing:.2f} | ${computing:.2f} | ${computing:.2f} |" in text
    assert "| **together** | " + " | ".join(f"**${total:.2f}**" for total in totals) + " |" in text
    assert f"20 requests a second all day are ${20 * 86400 / 1e6 * totals[0]:.2f}" in text
    text = page("9_speed_and_cost")
    assert f"a request takes {milliseconds:.0f} ms" in text
    assert f"{milliseconds * 1000:,.0f} seconds × {megabytes / 1024:g} GB × $0.0000166667 = ${computing:.2f}" in text


def test_a_page_gives_the_sizes_of_the_images():
    megabytes = RESULTS["image MB"]
    assert f"{megabytes['3.8']:.0f} MB on Python 3.8 and {megabytes['3.13']:.0f} MB on 3.13" in page("7_container")


def test_a_million_seconds_of_a_gigabyte_cost_what_lambda_asks():
    assert report.price(1000, 1024) == pytest.approx(16.6667)


def test_the_cheapest_size_answers_within_a_second():
    slow, fast, fastest = [
        {"megabytes": megabytes, "all": {"warm": {"median": warm}}}
        for megabytes, warm in ((128, 1001), (512, 900), (1769, 300))
    ]
    assert report.cheapest([slow, fast, fastest]) == fast


def test_the_cheapest_size_is_that_on_avx2():
    def row(megabytes, avx2, everything):
        return {"megabytes": megabytes, "AVX2": {"warm": {"median": avx2}}, "all": {"warm": {"median": everything}}}

    slow, fast = row(512, 1001, 300), row(1024, 500, 290)
    assert report.cheapest([slow, fast]) == fast


def test_without_avx2_alone_its_columns_are_left_out():
    sizes = [{key: value for key, value in row.items() if key != "AVX2"} for row in RESULTS["sizes"]]
    stacks = {
        name: {key: value for key, value in stack.items() if key != "AVX2"} for name, stack in RESULTS["stacks"].items()
    }
    for table in report.tables({**RESULTS, "sizes": sizes, "stacks": stacks}).values():
        assert "AVX2" not in table
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """Return the environment of a process that sees AVX2 alone, with the numpy of the tests."""
    if avx2_only.obstacle() or "AVX2" not in instructions():
        pytest.skip("needs x86-64 with AVX2, gcc and objdump")
    library = tmp_path_factory.mktemp("avx2_only") / "avx2_only.so"
    folder = Path(numpy.__file__).parent
    avx2_only.build(library, [folder, f"{folder}.libs"])
    return {**os.environ, "LD_AUDIT": str(library)}


def test_a_process_sees_avx2_alone(hidden):
    avx2_only.check([sys.executable], hidden)


@pytest.mark.skipif("AVX-512" not in instructions(), reason="nothing to hide here")
def test_a_process_that_sees_more_is_refused():
    with pytest.raises(RuntimeError, match="AVX2 and AVX-512 are True and True"):
        avx2_only.check([sys.executable])


UD2 = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes([0x0F, 0x0B]))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""


@pytest.mark.parametrize(("crash", "number"), [("ctypes.string_at(0)", signal.SIGSEGV), (UD2, signal.SIGILL)])
def test_a_fault_of_its_own_still_ends_the_process(crash, number, hidden):
    command = [sys.executable, "-c", f"import ctypes, numpy\n{crash}"]
    assert subprocess.run(command, env=hidden, check=False).returncode == -number


def test_all_stacks_were_measured_on_the_committed_model_and_photos():
    metrics = json.loads((ROOT / "metrics.json").read_text())
    for name in ("ours-3.8", "ours-3.13"):
        assert RESULTS["stacks"][name]["accuracy"] == pytest.approx(metrics["accuracy"]["int8"]["test"], abs=0.006)
    assert RESULTS["stacks"]["keras"]["accuracy"] == metrics["accuracy"]["Keras"]["test"]
