"""The verbs and SAM's commands, run in a copy of the folder against an AWS on this machine."""

import json
import shutil
import subprocess

import pytest
from conftest import FOLDER

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")
from tests.harness.aws import TOOLS, running_aws
from tests.harness.containers import bridge_address, find_base

TAGS = ["public.ecr.aws/lambda/python:3.13-x86_64", "public.ecr.aws/lambda/python:3.13"]  # for SAM and ministack
NAME = "explore-more-lean-layer"
EVENT = {"sentences": ["Ich habe Hunger."], "hypotheses": 2}


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account whose CloudFormation reads SAM templates."""
    translator = FOLDER / "build/translator"
    if not translator.exists():
        command = [TOOLS / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        requirements = FOLDER / "tests/translator/requirements.txt"
        subprocess.run([*command, "--target", translator, "--requirement", requirements], check=True)
    with running_aws(tmp_path_factory.mktemp("aws"), PYTHONPATH=str(translator), LAMBDA_EXECUTOR="docker") as account:
        account.environ["SAM_CLI_TELEMETRY"] = "0"
        account.environ["AWS_DEFAULT_REGION"] = account.environ["AWS_REGION"]
        yield account


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the folder elsewhere, with the layer that `make` has built; `make` rebuilds it if it is out of date."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy2(FOLDER.parent / "system.mk", folder)
    ignored = shutil.ignore_patterns(
        ".venv*", "__pycache__", ".aws-sam", "marian", "*.zip.*", "classifier*", "scikit*", "translator"
    )
    copy = shutil.copytree(FOLDER, folder / "lean_layer", ignore=ignored)
    (copy / ".venv").symlink_to(FOLDER / ".venv")
    return copy


def run(folder, environ, *command):
    """Run a command as a user does, outside of the `make` that runs this test; return what it printed."""
    environ = {name: value for name, value in environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    return subprocess.run(command, cwd=folder, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


def invoke(account, event):
    """Call the function in AWS; return its answer or its error."""
    path = account.folder / "answer"
    payload = ["--payload", json.dumps(event)]
    account.aws("lambda", "invoke", "--function-name", NAME, *payload, path)
    return json.loads(path.read_text())


def test_the_template_passes_sams_lint(account, copy):
    assert "valid SAM Template" in run(copy, account.environ, ".venv/bin/sam", "validate", "--lint")


def test_the_function_is_deployed_answers_and_leaves_nothing_behind(account, copy):
    find_base("3.13", *TAGS)
    printed = run(copy, account.environ, "make", "deploy")
    assert "Ich habe Hunger. → I'm hungry." in printed
    (function,) = account.aws("lambda", "list-functions")["Functions"]
    assert function["PackageType"] == "Zip"
    assert len(function["Layers"]) == 1
    assert len(invoke(account, EVENT)["translations"][0]["hypotheses"]) == 2
    error = invoke(account, {"sentences": ["我饿了"]})
    assert (error["errorType"], "Latin" in error["errorMessage"]) == ("unknown_script", True)
    answer = invoke(account, {**EVENT, "answer": "s3"})
    account.aws("s3api", "get-object", "--bucket", answer["bucket"], "--key", answer["key"], account.folder / "object")
    assert json.loads((account.folder / "object").read_text()) == invoke(account, EVENT)
    assert (account.folder / "object").stat().st_size == answer["bytes"]
    run(copy, account.environ, "make", "destroy")
    assert account.aws("lambda", "list-functions")["Functions"] == []
    assert account.aws("s3api", "list-buckets")["Buckets"] == []
    assert account.aws("lambda", "list-layers")["Layers"] == []
    assert account.aws("logs", "describe-log-groups")["logGroups"] == []


def test_a_published_layer_serves_the_function(account, copy):
    arn = run(copy, account.environ, "make", "--silent", "publish-layer").split()[-1]
    assert arn.startswith("arn:aws:lambda:")
    run(copy, {**account.environ, "LAYER_ARN": arn}, "make", "deploy")
    (function,) = account.aws("lambda", "list-functions")["Functions"]
    assert [layer["Arn"] for layer in function["Layers"]] == [arn]
    assert invoke(account, EVENT)["translations"][0]["hypotheses"][0]["text"] == "I'm hungry."
    run(copy, account.environ, "make", "destroy")


def test_sam_invokes_the_function_on_this_machine_with_an_answer_in_s3(account, copy, tmp_path):
    find_base("3.13", *TAGS)
    account.aws(
        "s3api", "create-bucket", "--bucket", "answers", "--create-bucket-configuration", "LocationConstraint=eu-west-1"
    )
    endpoint = account.proxy.target.replace("127.0.0.1", bridge_address())
    settings = {"ANSWERS_BUCKET": "answers", "MAX_INLINE_BYTES": "100", "S3_ENDPOINT": endpoint}
    (tmp_path / "env.json").write_text(json.dumps({"TranslationFunction": settings}))
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    run(copy, account.environ, ".venv/bin/sam", "build")
    command = [".venv/bin/sam", "local", "invoke", "TranslationFunction", "-n", tmp_path / "env.json"]
    command += ["-e", tmp_path / "event.json", "--skip-pull-image"]
    answer = json.loads(run(copy, account.environ, *command))
    # SAM's exit status is 0 even if the function raised an error.
    assert "errorMessage" not in answer
    account.aws("s3api", "get-object", "--bucket", answer["bucket"], "--key", answer["key"], tmp_path / "object")
    assert json.loads((tmp_path / "object").read_text())["translations"][0]["hypotheses"][0]["text"] == "I'm hungry."
