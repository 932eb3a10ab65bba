"""The limits and the errors: how the environment changes them, and that docs/limits_and_errors.md lists them."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from errors import STATUS

PAGE = (ROOT / "docs/limits_and_errors.md").read_text()
LIMITS = re.findall(r"^([A-Z_]+) = .*read_", (ROOT / "limits.py").read_text(), re.MULTILINE)
CODE = [ROOT / name for name in ("addresses.py", "download.py", "image_source.py", "lambda_function.py")]


def start(**environ):
    """Import the limits in a process of its own; return its exit status and what it printed."""
    code = f"import limits; print({{name: getattr(limits, name) for name in {LIMITS}}})"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return process.returncode, process.stdout, process.stderr


def values(**environ):
    """Return {name: value} of all limits under these environment variables."""
    return ast.literal_eval(start(**environ)[1])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_PIXELS", "1000", 1000),
        ("DOWNLOAD_SECONDS", "2.5", 2.5),
        ("DECODE_SECONDS", "", 5),
        ("ALLOWED_SCHEMES", "https", ("https",)),
        ("ALLOWED_HOSTS", "example.com, *.example.org", ("example.com", "*.example.org")),
        ("ALLOW_LOOPBACK", "true", True),
    ],
)
def test_the_environment_overrides_a_limit(name, text, value):
    assert values(**{name: text})[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_PIXELS", "many"),
        ("MAX_PIXELS", "0"),
        ("MAX_PIXELS", "-1"),
        ("MAX_PIXELS", "1.5"),
        ("DOWNLOAD_SECONDS", "nan"),
        ("DOWNLOAD_SECONDS", "inf"),
        ("ALLOWED_SCHEMES", "https,file"),
        ("ALLOWED_SCHEMES", "https,"),
        ("ALLOWED_HOSTS", "https://example.com/"),
        ("ALLOW_LOOPBACK", "yes"),
    ],
)
def test_what_makes_no_sense_stops_the_start_and_is_named(name, text):
    status, _, errors = start(**{name: text})
    assert status == 1
    assert f"ValueError: {name} is {text!r}" in errors


def as_text(value):
    """Return a limit as it is written in an environment variable and in docs/."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def test_the_page_lists_every_limit_with_its_default():
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", PAGE, re.MULTILINE)
    assert LIMITS
    assert {(name, as_text(value)) for name, value in values().items()} <= set(rows)


def test_the_page_lists_every_code_with_its_status():
    rows = re.findall(r"^\| (\d{3}) \| `([a-z0-9_]+)` \|", PAGE, re.MULTILINE)
    assert {code: int(status) for status, code in rows} == STATUS


def test_every_code_is_raised_somewhere_and_no_other():
    raised = {code for path in CODE for code in re.findall(r'request_error\(\s*"([a-z0-9_]+)"', path.read_text())}
    assert raised == set(STATUS)
