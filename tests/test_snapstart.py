"""SnapStart: what Lambda does to the function before a snapshot and after, as far as one machine can show it.

AWS copies a whole virtual machine. Here copies of the process stand for it, and AWS's runtime client runs the hooks.
"""

import json
import os
import subprocess
import urllib.request

import pytest
from conftest import GOOD, ROOT, python_of

from lambda_function import lambda_handler
from tests.harness import servers
from tests.harness.aws import Proxy
from tests.harness.emulator import PATH, emulator_command

PYTHON = "3.13"
ONE_CORE = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "768"}  # a copy of a process has one thread only
SNAPSTART = {**os.environ, **ONE_CORE, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
RESTORE = "/2018-06-01/runtime/restore/next"

# As in copies of a virtual machine, each copy has the process's number, by which OpenSSL could tell them apart.
COPIES = """
import ctypes, json, os, ssl, sys
import lambda_function
from awslambdaric.lambda_runtime_hooks_runner import run_after_restore, run_before_snapshot

hooks, event = json.load(sys.stdin)
if hooks:
    run_before_snapshot()
for _ in range(2):
    if not os.fork():
        assert ctypes.CDLL(None).unshare(0x20000000) == 0  # a new namespace for process numbers
        if not os.fork():
            assert os.getpid() == 1
            if hooks:
                run_after_restore()
            scores = lambda_function.lambda_handler(event, None)
            print(json.dumps({"scores": scores, "key": ssl.RAND_bytes(32).hex()}), flush=True)
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    os.wait()
"""


def copies(hooks):
    """Return the log line and the answer of each of two copies of an initialised process."""
    isolate = ["unshare", "--pid", "--fork"]
    if subprocess.run([*isolate, "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root may make namespaces")
    command = [*isolate, python_of(PYTHON), "-c", COPIES]
    output = subprocess.check_output(command, cwd=ROOT, env=SNAPSTART, input=json.dumps([hooks, GOOD]), text=True)
    lines = [json.loads(line) for line in output.splitlines()]
    return lines[::2], lines[1::2]


def test_copies_answer_alike_and_draw_keys_of_their_own():
    logs, answers = copies(hooks=True)
    assert [log["start"] for log in logs] == ["restored", "restored"]
    assert len({answer["key"] for answer in answers}) == 2
    assert answers[0]["scores"] == answers[1]["scores"] == pytest.approx(lambda_handler(GOOD, None), abs=0.5)


def test_without_the_hooks_copies_would_draw_the_same_keys():
    _, answers = copies(hooks=False)
    assert len({answer["key"] for answer in answers}) == 1


def test_the_snapshot_is_taken_after_one_inference_and_before_any_request():
    code = """
import itertools, lambda_function
from awslambdaric.lambda_runtime_hooks_runner import run_before_snapshot
shapes, model = [], lambda_function.model
lambda_function.model = lambda X: shapes.append(X.shape) or model(X)
run_before_snapshot()
print(shapes, lambda_function.calls)
"""
    output = subprocess.check_output([python_of(PYTHON), "-c", code], cwd=ROOT, text=True)
    assert output == "[(1, 299, 299, 3)] count(0)\n"


def test_python_3_8_has_no_hooks_and_works_without():
    code = "import lambda_function; print(lambda_function.snapstart)"
    assert subprocess.check_output([python_of("3.8"), "-c", code], cwd=ROOT, text=True) == "None\n"


class RuntimeApi(Proxy):
    """What the function's runtime client asks: AWS's emulator, and for it a snapshot that is restored at once.

    The emulator runs the hooks, and answers 404 to what the client asks for next.
    """

    def forward(self, method, path, body, headers):
        return (200, [], b"") if path == RESTORE else super().forward(method, path, body, headers)


def test_awss_runtime_client_takes_the_function_through_a_snapshot(serve, tmp_path):
    port = servers.free_port()
    *emulator, python, option, module, handler = emulator_command(port, python_of(PYTHON))
    api = serve(RuntimeApi(f"http://{emulator[emulator.index('--runtime-api-address') + 1]}"))
    through = ["env", f"AWS_LAMBDA_RUNTIME_API=127.0.0.1:{api.server_port}"]
    with (tmp_path / "log").open("w+") as log:
        command = [*emulator, *through, python, option, module, handler]
        process = subprocess.Popen(command, cwd=ROOT, env=SNAPSTART, stdout=log, stderr=log)
        try:
            servers.wait_until_open(port, process)
            answers = [ask(port), ask(port)]
        finally:
            servers.stop(process)
        log.seek(0)
        lines = [json.loads(line) for line in log if line.startswith("{")]
    assert answers[0] == answers[1]
    assert max(answers[0], key=answers[0].get) == "pants"
    assert [line["start"] for line in lines] == ["restored", "warm"]
    assert [call for call in api.calls if "/response" not in call][:2] == [
        f"GET {RESTORE}", "GET /2018-06-01/runtime/invocation/next"
    ]  # fmt: skip


def ask(port):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", json.dumps(GOOD).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
