"""All verbs, in a copy of the folder with nothing but system.mk beside it, against an AWS on this machine.

What the rehearsal patches: tests/harness/mended_ministack.py has the faults of ministack; cdk_docker, the registry; and
EFS is never mounted, so that a folder of this machine is, as root.
"""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from conftest import FOLDER, NODE

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")
from tests.harness.aws import running_aws
from tests.harness.containers import find_base

NAME = "explore-more-zero-administration"
THIRD = """from answers import answering


@answering
def handler(request):
    return {"characters": len(request["text"])}
"""


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    return tmp_path_factory.mktemp("mount")


@pytest.fixture(scope="module")
def account(tmp_path_factory, mount):
    """An AWS account, in whose functions a folder is mounted as EFS would be."""
    flags = f"-v {mount}:/mnt/hf_models_cache"
    with running_aws(tmp_path_factory.mktemp("aws"), LAMBDA_DOCKER_FLAGS=flags) as account:
        environ = account.environ
        environ["AWS_DEFAULT_REGION"] = environ["AWS_REGION"]
        environ["CDK_DOCKER"] = str(FOLDER / "tests/cdk_docker")
        environ["BASE"] = find_base("3.13")
        yield account


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The folder, elsewhere, with a third script."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy2(FOLDER.parent / "system.mk", folder)
    ignored = shutil.ignore_patterns(".venv*", "__pycache__", "build", "cdk.out", "node_modules")
    copy = shutil.copytree(FOLDER, folder / "zero_administration", ignore=ignored)
    for name in (".venv", "node_modules"):
        (copy / name).symlink_to(FOLDER / name)
    (copy / "inference/count_characters.py").write_text(THIRD)
    return copy


def make(verb, folder, environ, **more):
    """Run a verb as its user does, not as a part of the make that runs this; return what it printed."""
    environ = {name: value for name, value in environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    command = ["make", "--silent", verb]
    return subprocess.run(
        command, cwd=folder, env={**environ, **more}, check=True, text=True, stdout=subprocess.PIPE
    ).stdout  # fmt: skip


def post(url, request):
    """Return the status, headers and body of an answer."""
    request = urllib.request.Request(url, json.dumps(request).encode(), {"Origin": "chrome-extension://any"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def test_a_copy_is_deployed_answers_and_leaves_nothing_behind(account, copy, mount):
    printed = make("deploy", copy, account.environ)
    assert "我饿了。 → " in printed
    outputs = json.loads((copy / "build/outputs.json").read_text())
    print(outputs)
    functions = account.aws("lambda", "list-functions")["Functions"]
    assert {each["FunctionName"] for each in functions} == {
        f"{NAME}-{script}" for script in ("translate", "segment", "count-characters")
    }
    assert sorted(path.name.split("-")[0] for path in mount.iterdir() if path.is_dir()) == ["en", "zh"]
    make("destroy", copy, account.environ)
    assert account.aws("lambda", "list-functions")["Functions"] == []
