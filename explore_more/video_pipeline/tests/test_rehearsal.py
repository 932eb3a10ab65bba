"""The stack in a stand-in for AWS on this machine: real S3 events, real containers, a real language model behind Bedrock."""

import base64
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request

import pytest
from conftest import FOLDER

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

import boto3  # noqa: E402
from sagemaker import SageMaker  # noqa: E402

import client  # noqa: E402
from tests.harness import servers  # noqa: E402
from tests.harness.aws import running_aws  # noqa: E402
from tests.harness.containers import bridge_address, docker, find_base  # noqa: E402

NAME = "explore-more-video-pipeline"
SECONDS = 180


def make(verb, account):
    """Run a verb as its user does; return what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    environ = {**environ, **account.environ, "BASE": account.base}
    return subprocess.run(["make", verb], cwd=FOLDER, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def account(tmp_path_factory, language_model):
    """An AWS account in which `make deploy` has run; at the end `make destroy` leaves nothing in it."""
    proxy = {"MINISTACK_BEDROCK_PROXY_URL": language_model, "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.5"}
    with running_aws(tmp_path_factory.mktemp("aws"), **proxy) as account:
        account.base = find_base("3.13")
        account.printed = make("deploy", account)
        outputs = account.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"][0]["Outputs"]
        account.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        name = account.outputs["Api"].split("//")[1].split(".")[0]
        account.api = f"{account.proxy.target}/_aws/execute-api/{name}/$default"
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
        account.session = boto3.Session(**keys)
        account.s3 = account.session.client("s3", endpoint_url=account.proxy.target)
        yield account
        make("destroy", account)
        assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
        assert account.aws("lambda", "list-functions")["Functions"] == []
        assert account.aws("s3api", "list-buckets")["Buckets"] == []


def configure(account, function, timeout=None, **environ):
    """Change a function's time limit or environment; return its old settings, for `restore`."""
    name = f"{NAME}-{function}"
    old = account.aws("lambda", "get-function-configuration", "--function-name", name)
    variables = {**old["Environment"]["Variables"], **environ}
    restore(account, {**old, "Timeout": timeout or old["Timeout"], "Environment": {"Variables": variables}})
    return old


def restore(account, settings):
    options = ["--timeout", settings["Timeout"], "--environment", json.dumps(settings["Environment"])]
    account.aws("lambda", "update-function-configuration", "--function-name", settings["FunctionName"], *options)


def ask(method, url, content=None, headers=None):
    """Return status and JSON of an answer."""
    data = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, headers or {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith(b"{") else body.decode()


def test_deploying_ends_with_an_inventory(account):
    assert "3 garments: " in account.printed
