"""Test `make run` as users run it."""

import os
import re
import signal
import socket
import subprocess

import psutil
import pytest
from conftest import ROOT, serving

from tests.harness.servers import free_port


def make(*arguments, **environ):
    """Run make; return its exit status, its output, and the lines on stderr except make's own."""
    result = subprocess.run(
        ["make", *arguments], cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout, [e for e in result.stderr.splitlines() if not e.startswith("make: ***")]


@pytest.fixture
def script(tmp_path):
    """A function that writes an executable shell script with a name and a body, and returns its path."""

    def write(name, body):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def test_make_run_serves_on_loopback_until_ctrl_c_and_leaves_no_process(tmp_path):
    port = free_port()
    with (tmp_path / "log").open("w+") as log, serving(["make", "run"], port, log) as (process, url):
        assert f":{port}/2015-03-31/functions/function/invocations" in url
        assert "pip" not in process.printed, "a second run must not install anything"
        assert "\npants\n" in process.printed
        family = psutil.Process(process.pid).children(recursive=True)
        listening = [c.laddr for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
        assert all(address.ip.startswith("127.") for address in listening)
        page_port = int(re.search(r"The page is at http://localhost:(\d+)/", process.printed)[1])
        assert {address.port for address in listening if address.ip == "127.0.0.1"} == {port, page_port}
        assert len(listening) == 4, "two of them are the emulator's, on an address that web pages cannot guess"
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        assert not psutil.wait_procs(family, timeout=10)[1]
        log.seek(0)
        assert "Traceback" not in log.read()


def test_signals_of_two_kinds_at_once_leave_no_process(tmp_path):
    with (tmp_path / "log").open("w+") as log, serving(["make", "run"], free_port(), log) as (process, _):
        family = psutil.Process(process.pid).children(recursive=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.killpg(process.pid, number)
        process.wait()
        assert not psutil.wait_procs(family, timeout=10)[1]


def test_ending_make_alone_leaves_no_process(tmp_path):
    with (tmp_path / "log").open("w+") as log, serving(["make", "run"], free_port(), log) as (process, _):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait()
        assert not psutil.wait_procs(family, timeout=10)[1]


def test_a_busy_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        status, _, errors = make("run", PORT=str(busy.getsockname()[1]))
    assert status != 0
    assert len(errors) == 1
    assert "PORT=9000 make run" in errors[0]


@pytest.mark.parametrize("port", ["0", "65536", "http", "²", "80 80"])
def test_a_port_that_is_none_is_one_line(port):
    status, _, errors = make("run", PORT=port)
    assert status != 0
    assert len(errors) == 1
    assert "1 to 65535" in errors[0]


@pytest.mark.parametrize(
    "origin", ["example.com", "https://example.com/", "null", "https://a.example,https://b.example"]
)
def test_an_origin_that_is_none_is_one_line(origin):
    status, _, errors = make("run", PORT=str(free_port()), PAGE_PORT=str(free_port()), CORS_ORIGIN=origin)
    assert status != 0
    assert len(errors) == 1
    assert "https://example.com," in errors[0]


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.15"])
def test_a_python_without_locked_requirements_is_one_line(version, script):
    status, output, errors = make("run", f"PYTHON={script('python', f'echo {version}')}")
    assert (status != 0, output) == (True, "")
    assert len(errors) == 1
    assert "Python 3.9" in errors[0]
    assert version in errors[0]


def test_a_missing_python_is_one_line():
    status, output, errors = make("run", "PYTHON=no-such-python")
    assert (status != 0, output, len(errors)) == (True, "", 1)
    assert "no-such-python cannot be run" in errors[0]


def test_a_machine_without_an_emulator_is_told_of_docker(script):
    uname = script("uname", "echo Darwin arm64")
    status, output, errors = make("run", PATH=f"{uname.parent}:{os.environ['PATH']}")
    assert (status != 0, output, len(errors)) == (True, "", 1)
    assert "docker run" in errors[0]
