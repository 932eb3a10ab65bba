"""The stack in a stand-in for AWS on this machine: the verbs, and each of the three ways."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import av
import pytest

FOLDER = Path(__file__).resolve().parent.parent
sys.path.append(str(FOLDER.parent.parent))
pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

from websockets.sync.client import connect  # noqa: E402

from tests.harness.aws import running_aws  # noqa: E402
from tests.harness.containers import bridge_address, find_base  # noqa: E402

NAME = "explore-more-audio-enhancement"
SECONDS = 120


def make(verb, account):
    """Run a verb as a user does; return what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    environ = {**environ, **account.environ, "BASE": account.base}
    return subprocess.run(["make", verb], cwd=FOLDER, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account after `make deploy`. At the end, `make destroy` must leave nothing in it."""
    shutil.rmtree(FOLDER / "build", ignore_errors=True)
    with running_aws(tmp_path_factory.mktemp("aws")) as account:
        account.base = find_base("3.13")
        account.printed = make("deploy", account)
        outputs = account.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"][0]["Outputs"]
        account.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        account.api = f"{account.proxy.target}/_aws/execute-api/{name_of(account.outputs['Api'])}/$default"
        account.socket = f"{account.proxy.target}/_aws/execute-api/{name_of(account.outputs['Socket'])}/live"
        set_socket(account)
        yield account
        make("destroy", account)
        assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
        assert account.aws("lambda", "list-functions")["Functions"] == []
        assert account.aws("s3api", "list-buckets")["Buckets"] == []


def name_of(url):
    return url.split("//")[1].split(".")[0]


def set_socket(account):
    """Tell the functions where the stand-in's socket is, because its name does not resolve."""
    for function in ("enhance", "jobs"):
        name = f"{NAME}-{function}"
        settings = account.aws("lambda", "get-function-configuration", "--function-name", name)["Environment"]
        endpoint = account.socket.replace("127.0.0.1", bridge_address())
        settings["Variables"]["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = endpoint
        settings["Variables"]["SOCKET_URL"] = account.socket.replace("http", "ws")
        account.aws(
            "lambda", "update-function-configuration", "--function-name", name, "--environment", json.dumps(settings)
        )


def ask(method, url, content=None):
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def upload(account, data, **options):
    """Create a job for a recording and upload the recording; return the job."""
    status, job = ask("POST", f"{account.api}/jobs", json.dumps({"upload": len(data), **options}).encode())
    assert status == 201, job
    urllib.request.urlopen(urllib.request.Request(job["upload"], data, method="PUT"), timeout=SECONDS).close()
    return job


def wait_until_ended(account, job):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status, answer = ask("GET", f"{account.api}/jobs/{job['id']}")
        assert status == 200, answer
        if answer["state"] in ("done", "failed"):
            return answer
        time.sleep(0.5)
    raise AssertionError(answer)


def seconds_of(data):
    with av.open(io.BytesIO(data)) as container:
        return container.duration / 1e6


def test_deploying_ends_with_a_recording_that_a_job_enhanced(account):
    assert "6.28 s enhanced" in account.printed
    assert seconds_of((FOLDER / "build/deployed.m4a").read_bytes()) == pytest.approx(6.28, abs=0.1)


def test_a_workflow_enhances_an_uploaded_recording(account, sample):
    job = upload(account, sample)
    result = run_workflow(account, {"key": f"uploads/{job['id']}", "format": "flac"})
    assert result["status"] == "SUCCEEDED", result
    output = json.loads(result["output"])
    assert output["format"] == "flac" and output["seconds"] == pytest.approx(6.28, abs=0.1)


def test_a_workflow_says_why_it_refuses(account):
    job = upload(account, b"no recording at all")
    result = run_workflow(account, {"key": f"uploads/{job['id']}"})
    assert (result["status"], result["error"]) == ("FAILED", "unsupported_format"), result
    assert "m4a" in result["cause"]


def run_workflow(account, content):
    arn = account.outputs["Workflow"]
    started = account.aws(
        "stepfunctions", "start-execution", "--state-machine-arn", arn, "--input", json.dumps(content)
    )
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        result = account.aws("stepfunctions", "describe-execution", "--execution-arn", started["executionArn"])
        if result["status"] != "RUNNING":
            return result
        time.sleep(0.5)
    raise AssertionError(result)


def test_a_failed_job_says_why(account):
    job = upload(account, b"no recording at all")
    assert ask("POST", f"{account.api}/jobs/{job['id']}", b"")[0] == 202
    ended = wait_until_ended(account, job)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "unsupported_format")


def test_a_job_starts_once(account, sample):
    job = upload(account, sample)
    assert ask("POST", f"{account.api}/jobs/{job['id']}", b"")[0] == 202
    assert ask("POST", f"{account.api}/jobs/{job['id']}", b"")[0] == 409
    assert wait_until_ended(account, job)["state"] == "done"


def test_a_client_on_the_socket_is_told_when_its_job_is_done(account, sample):
    job = upload(account, sample)
    with connect(job["socket"], open_timeout=SECONDS) as socket:
        ask("POST", f"{account.api}/jobs/{job['id']}", b"")
        while (message := json.loads(socket.recv(timeout=SECONDS)))["state"] == "running":
            assert 0 <= message["progress"] <= 1
    assert message["id"] == job["id"] and message["state"] == "done"
    with urllib.request.urlopen(message["result"]["url"], timeout=SECONDS) as answer:
        assert seconds_of(answer.read()) == pytest.approx(6.28, abs=0.1)


def test_a_small_recording_is_answered_at_once(account, sample):
    status, answer = ask(
        "POST", f"{account.api}/enhance", json.dumps({"audio": base64.b64encode(sample).decode()}).encode()
    )
    assert status == 200, answer
    assert seconds_of(base64.b64decode(answer["audio"])) == pytest.approx(6.28, abs=0.1)


def test_a_job_that_was_ended_for_time_is_marked(account, sample):
    function = f"{NAME}-enhance"
    account.aws("lambda", "update-function-configuration", "--function-name", function, "--timeout", 1)
    try:
        job = upload(account, sample)
        ask("POST", f"{account.api}/jobs/{job['id']}", b"")
        ended = wait_until_ended(account, job)
    finally:
        account.aws("lambda", "update-function-configuration", "--function-name", function, "--timeout", 600)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "timed_out")


def test_an_unknown_job_is_not_found(account):
    assert ask("GET", f"{account.api}/jobs/none")[0] == 404
