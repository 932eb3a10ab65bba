"""The parts of the harness that need no AWS: any handler in the emulator, and the forwarder."""

import socket
import subprocess
import sys

import pytest
import requests
from conftest import RUNNING_VERSION, python_of

from tests.harness.emulator import emulating
from tests.harness.servers import Forwarder, folder_server, free_port, running, wait_until_open

ANY_PORT = ("127.0.0.1", 0)
HANDLER = """
import os, sys

def handle(event, context):
    return [event, os.getcwd(), os.environ["WORD"], list(sys.version_info[:2])]
"""


@pytest.mark.parametrize("version", [RUNNING_VERSION, "3.8"])
def test_any_handler_of_any_folder_is_served_by_any_python(version, tmp_path):
    (tmp_path / "function.py").write_text(HANDLER)
    with emulating(tmp_path, python_of(version), "function.handle", WORD="ours") as url:
        answer = requests.post(url, json={"photo": 1}, timeout=60).json()
    assert answer == [{"photo": 1}, str(tmp_path), "ours", [int(part) for part in version.split(".")]]


def test_a_handler_is_gone_after_its_block(tmp_path):
    (tmp_path / "function.py").write_text(HANDLER)
    with emulating(tmp_path, python_of(RUNNING_VERSION), "function.handle") as url:
        pass
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(url, json={}, timeout=60)


def test_a_server_that_ends_is_not_waited_for():
    process = subprocess.Popen([sys.executable, "-c", ""])
    with pytest.raises(RuntimeError, match="it ended"):
        wait_until_open(free_port(), process)


def read(connection):
    """Return what comes until the other end has finished."""
    connection.settimeout(60)
    return b"".join(iter(lambda: connection.recv(100), b""))


def test_a_forwarder_hands_requests_and_answers_on(tmp_path):
    photo = bytes(range(256)) * 10_000
    (tmp_path / "photo").write_bytes(photo)
    with running(folder_server(tmp_path)) as server, running(Forwarder(ANY_PORT, server.server_address)) as way:
        for _ in range(3):
            assert requests.get(f"http://127.0.0.1:{way.server_address[1]}/photo", timeout=60).content == photo


def test_a_forwarder_tells_each_end_that_the_other_has_finished():
    with socket.create_server(ANY_PORT) as target, running(Forwarder(ANY_PORT, target.getsockname())) as way:
        client = socket.create_connection(way.server_address, timeout=60)
        served, _ = target.accept()
        with client, served:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read(served) == b"question"
            served.sendall(b"answer")
            served.shutdown(socket.SHUT_WR)
            assert read(client) == b"answer"
