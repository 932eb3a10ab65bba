"""Run the README's commands and compare what they print with what it shows: python tests/check_readme.py

`make run` runs meanwhile, as the README says. Numbers may differ a little, and … stands for anything. Commands of the
section on AWS are for tests/aws.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, TROUSERS, serving

README = (ROOT / "README.md").read_text()
AWS_SECTION = "8. Deploy it to AWS"
# What is not run here, and why.
ELSEWHERE = {
    "make test": "that and the others are what runs beside this",
    "make benchmark": "it takes an hour",
    "git clone": "it needs the internet",
    ".venv-dev/bin/jupyter lab": "tests/test_notebook.py runs the notebook",
    ".venv-dev/bin/python notebooks/select_extra_photos.py": "tests/test_select_extra_photos.py runs it",
    ".venv-dev/bin/python convert_model.py": "tests/test_convert_model.py converts models",
    "docker": "tests/container builds and runs the image",
}
NUMBER = re.compile(r"-?\d+\.\d+")


class Command(NamedTuple):
    """A command, with its lines, and the lines that it prints according to the README."""

    text: str
    output: list


def sections(text=README):
    """Return {heading: text} of the README's sections of the second level."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


def commands(text):
    """Yield the commands of a text's console blocks; a block without any is what the command before it prints."""
    last = None
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        end = None
        for line in block.splitlines():
            if line.startswith("$ "):
                if last:
                    yield last
                last, open_line = Command(line[2:], []), line
                end = re.search(r"<<'(\w+)'", line)
            elif end or open_line.endswith(("|", "\\")):
                last = Command(f"{last.text}\n{line}", [])
                open_line = line
                end = end if end and line != end[1] else None
            else:
                last.output.append(line)
    if last:
        yield last


def differences(shown, printed):
    """Return a text that says where two lists of lines differ, or an empty one."""
    for number, (a, b) in enumerate(zip(shown, printed), 1):
        pattern = ".*".join(re.escape(part) for part in NUMBER.sub("0.0", a).split("…"))
        pairs = zip(NUMBER.findall(a), NUMBER.findall(b))
        if not re.fullmatch(pattern, NUMBER.sub("0.0", b)) or any(abs(float(x) - float(y)) > 0.5 for x, y in pairs):
            return f"line {number} is shown as\n  {a}\nand is\n  {b}"
    return "" if len(shown) == len(printed) else f"{len(shown)} lines are shown, and are {len(printed)}:\n{printed}"


def check(command, folder, **environ):
    """Run a command; exit with a message where it fails or prints something else than the README shows."""
    print(f"$ {command.text}", flush=True)
    result = subprocess.run(
        ["bash", "-c", command.text],
        cwd=folder,
        env={**os.environ, **environ},
        input="y\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wrong = differences(command.output, result.stdout.splitlines()) if command.output else ""
    if wrong or (result.returncode and not command.output):
        sys.exit(f"{command.text}\nexit status {result.returncode}; {wrong or result.stdout}")


def copy_of_checkout(folder):
    """Fill a folder with links to what is in the checkout, and with a photo of the reader's own."""
    for path in ROOT.iterdir():
        if path.name != ".predict-url":  # of a deployment, which test.py would ask
            (folder / path.name).symlink_to(path)
    (folder / "my-photo.jpg").symlink_to(TROUSERS)


def main():
    found = [c for name, text in sections().items() if name != AWS_SECTION for c in commands(text)]
    (run,) = [command for command in found if command.text == "make run"]
    here = [c for c in found if c != run and not c.text.startswith(tuple(ELSEWHERE))]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        copy_of_checkout(Path(folder))
        print(f"$ {run.text}", flush=True)
        with serving(run.text.split(), 8080, log, page_port=8081) as (process, _):
            wrong = differences(run.output, process.printed.splitlines()[-len(run.output) :])
            if wrong:
                sys.exit(f"{run.text}\n{wrong}")
            for command in here:
                check(command, folder)
    print(f"The README is right: {len(here) + 1} commands, {sum(bool(c.output) for c in here) + 1} with their output.")


if __name__ == "__main__":
    main()
