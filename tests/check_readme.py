"""Run the commands of README.md and docs/ and compare what they print with what the pages show:

python tests/check_readme.py

A block of commands is marked sh. If the next block is marked text, it shows what the commands print; numbers may differ
a little, and … stands for anything. `make run` runs meanwhile. tests/aws runs the commands for AWS.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, TROUSERS, serving

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
AWS_PAGES = ("8_deploy.md", "deployment.md")
# Blocks that do not run here, by how they begin, and why.
ELSEWHERE = {
    "make test": "it and the others run beside this",
    "make benchmark": "it takes half an hour",
    "make install": "it ran before this",
    "export AWS_REGION": "tests/aws deploys",
    "git clone": "it needs the internet",
    ".venv-dev/bin/python convert_model.py MODEL.keras": "tests/test_convert_model.py converts models",
    "docker": "tests/container builds and runs the image",
    "sudo": "it is for a machine without git and make",
}
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.\d+")


class Block(NamedTuple):
    """Commands that a page shows, and what they print according to the page."""

    page: str
    commands: str
    output: list


def blocks(page, text):
    """Return the blocks of commands in a page's text."""
    code = [match.groups() for match in CODE.finditer(text)]
    outputs = [text.splitlines() if language == "text" else [] for language, text in [*code[1:], ("", "")]]
    return [Block(page, text, output) for (language, text), output in zip(code, outputs) if language == "sh"]


def differences(shown, printed):
    """Return a text that says where two lists of lines differ, or an empty one."""
    for number, (a, b) in enumerate(zip(shown, printed), 1):
        pattern = ".*".join(re.escape(part) for part in NUMBER.sub("0.0", a).split("…"))
        pairs = zip(NUMBER.findall(a), NUMBER.findall(b))
        if not re.fullmatch(pattern, NUMBER.sub("0.0", b)) or any(abs(float(x) - float(y)) > 0.5 for x, y in pairs):
            return f"line {number} is shown as\n  {a}\nand is\n  {b}"
    return "" if len(shown) == len(printed) else f"{len(shown)} lines are shown, and are {len(printed)}:\n{printed}"


def check(block, folder, **environ):
    """Run a block, and answer yes to what it asks; exit with a message unless it prints what its page shows."""
    print(f"{block.page}: {block.commands}", end="", flush=True)
    result = subprocess.run(
        ["bash", "-c", block.commands],
        cwd=folder,
        env={**os.environ, **environ},
        input="y\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wrong = differences(block.output, result.stdout.splitlines()) if block.output else ""
    if wrong or (result.returncode and not block.output):
        sys.exit(f"exit status {result.returncode}; {wrong or result.stdout}")


def fill_checkout(folder):
    """Fill a folder with links to what is in the checkout, and with a photo of the reader's own."""
    for path in ROOT.iterdir():
        if path.name != ".predict-url":  # of a deployment, which test.py would ask
            (folder / path.name).symlink_to(path)
    (folder / "my-photo.jpg").symlink_to(TROUSERS)


def main():
    found = [block for page in PAGES if page.name not in AWS_PAGES for block in blocks(page.name, page.read_text())]
    (run,) = [block for block in found if block.commands == "make run\n"]
    here = [block for block in found if block != run and not block.commands.startswith(tuple(ELSEWHERE))]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        fill_checkout(Path(folder))
        print(f"{run.page}: {run.commands}", end="", flush=True)
        with serving(["make", "run"], 8080, log, page_port=8081) as (process, _):
            wrong = differences(run.output, process.printed.splitlines()[-len(run.output) :])
            if wrong:
                sys.exit(wrong)
            for block in here:
                check(block, folder)
    print(f"The pages are right: {len(here) + 1} blocks, {sum(bool(block.output) for block in here) + 1} with output.")


if __name__ == "__main__":
    main()
