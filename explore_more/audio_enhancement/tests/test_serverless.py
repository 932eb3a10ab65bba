"""serverless.yml, packaged by osls without AWS."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/audio-enhancement@sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def osls():
    """Return the command, installed from the locked packages."""
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    subprocess.run(["npm", "ci", "--silent"], cwd=FOLDER / "tests/serverless", check=True)
    return FOLDER / "tests/serverless/node_modules/.bin/osls"


def package(osls, folder, *parameters):
    """Run `osls package`; return {type: properties} of the resources in its template."""
    keys = {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
    }
    command = [osls, "package", "--package", folder, "--param", f"image={IMAGE}", *parameters]
    subprocess.run(command, cwd=FOLDER, env=keys, check=True)
    template = json.loads((folder / "cloudformation-template-update-stack.json").read_text())
    return {resource["Type"]: resource["Properties"] for resource in template["Resources"].values()}


def test_the_function_has_its_time_memory_and_disk(osls, tmp_path):
    resources = package(osls, tmp_path)
    function = resources["AWS::Lambda::Function"]
    assert function["Code"]["ImageUri"] == IMAGE
    assert (function["Timeout"], function["MemorySize"], function["EphemeralStorage"]) == (600, 2048, {"Size": 4096})
    assert set(function["Environment"]["Variables"]) == {"BUCKET"}
    assert resources["AWS::ApiGatewayV2::Route"]["RouteKey"] == "POST /enhance"


def test_concurrency_can_be_provisioned(osls, tmp_path):
    resources = package(osls, tmp_path, "--param", "provisioned=2")
    assert resources["AWS::Lambda::Alias"]["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 2}
