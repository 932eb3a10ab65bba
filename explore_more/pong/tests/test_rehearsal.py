"""All verbs, in a copy of the folder with only system.mk beside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent
sys.path.append(str(FOLDER.parent.parent))
pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

from tests.harness.aws import running_aws  # noqa: E402
from tests.harness.containers import find_base  # noqa: E402


@pytest.fixture
def account(tmp_path):
    """An AWS account."""
    with running_aws(tmp_path) as account:
        yield account


@pytest.fixture
def copy(tmp_path):
    """A copy of the folder elsewhere."""
    shutil.copy(FOLDER.parent / "system.mk", tmp_path)
    return shutil.copytree(FOLDER, tmp_path / "pong", ignore=shutil.ignore_patterns(".venv", "__pycache__"))


def make(verb, folder, environ):
    """Run a verb as a user does, outside of the `make` that runs this test; return what it printed."""
    environ = {name: value for name, value in environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    return subprocess.run(["make", verb], cwd=folder, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


def test_a_copy_runs_and_is_tested_alone(copy):
    assert make("run", copy, os.environ).splitlines()[-1] == "PONG"
    assert "1 passed, 1 skipped" in make("test", copy, os.environ)


def test_a_copy_is_deployed_and_leaves_nothing_behind(account, copy):
    environ = {**account.environ, "BASE": find_base("3.13")}
    for change in ("# one", "# two"):
        with (copy / "lambda_function.py").open("a") as file:
            file.write(f"{change}\n")
        assert make("deploy", copy, environ).splitlines()[-1] == "PONG"
        (repository,) = account.aws("ecr", "describe-repositories")["repositories"]
        images = account.aws("ecr", "list-images", "--repository-name", repository["repositoryName"])["imageIds"]
        assert [image["imageTag"] for image in images] == ["latest"]
    answer = account.folder / "answer"
    account.aws("lambda", "invoke", "--function-name", "explore-more-pong", answer)
    assert answer.read_text() == '"PONG"'
    make("destroy", copy, environ)
    assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
    assert account.aws("ecr", "describe-repositories")["repositories"] == []
    assert account.aws("lambda", "list-functions")["Functions"] == []
    assert account.aws("logs", "describe-log-groups")["logGroups"] == []
    assert account.aws("iam", "list-roles")["Roles"] == []
