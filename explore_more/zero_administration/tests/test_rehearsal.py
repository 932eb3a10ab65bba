"""All verbs, in a copy of the folder with only system.mk beside it, against an AWS on this machine.

The rehearsal patches four things: tests/harness/mended_ministack.py adds what ministack lacks; rehearsal/cdk_docker
sends images to its registry; rehearsal/sitecustomize.py finds its API; and a folder is mounted in place of EFS.
"""

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import FOLDER, NODE

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")
from tests.harness.aws import running_aws
from tests.harness.containers import find_base

if not NODE.exists():
    pytest.skip("no Node.js from npm here; `make test` installs it", allow_module_level=True)

sys.path.append(str(FOLDER / "tests/rehearsal"))
import sitecustomize  # noqa: F401

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
    """An AWS account; its functions get a folder mounted where EFS would be."""
    flags = f"-v {mount}:/mnt/hf_models_cache"
    with running_aws(tmp_path_factory.mktemp("aws"), LAMBDA_DOCKER_FLAGS=flags) as account:
        # Node.js mistakes the proxy's interim HTTP/1.0 answer to a large upload for the final one.
        account.environ["AWS_ENDPOINT_URL"] = account.proxy.target
        account.environ["AWS_DEFAULT_REGION"] = account.environ["AWS_REGION"]
        account.environ["CDK_DOCKER"] = str(FOLDER / "tests/rehearsal/cdk_docker")
        account.environ["PYTHONPATH"] = str(FOLDER / "tests/rehearsal")
        account.environ["BASE"] = find_base("3.13")
        yield account


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the folder elsewhere, with a third script."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy2(FOLDER.parent / "system.mk", folder)
    ignored = shutil.ignore_patterns(".venv*", "__pycache__", "build", "cdk.out", "node_modules")
    copy = shutil.copytree(FOLDER, folder / "zero_administration", ignore=ignored)
    for name in (".venv", "node_modules"):
        (copy / name).symlink_to(FOLDER / name)
    (copy / "inference/count_characters.py").write_text(THIRD)
    return copy


def make(verb, folder, environ, **more):
    """Run a verb as a user does, outside of the `make` that runs this test; return what it printed."""
    environ = {name: value for name, value in environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    run = subprocess.run(
        ["make", verb], cwd=folder, env={**environ, **more}, check=True, text=True, stdout=subprocess.PIPE
    )
    return run.stdout


def post(url, request, method="POST"):
    """Return the status, headers and JSON of an answer."""
    headers = {"Origin": "chrome-extension://any", "Content-Type": "application/json"}
    if method == "OPTIONS":
        headers |= {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    request = urllib.request.Request(url, json.dumps(request).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def test_a_copy_is_deployed_answers_and_leaves_nothing_behind(account, copy, mount):
    printed = make("deploy", copy, account.environ)
    assert "我饿了。 → " in printed
    api = json.loads((copy / "build/outputs.json").read_text())[NAME]["Api"]
    functions = account.aws("lambda", "list-functions")["Functions"]
    scripts = ("translate", "segment", "count-characters")
    assert {each["FunctionName"] for each in functions} == {f"{NAME}-{script}" for script in scripts}

    # The models were copied from S3 to the mount.
    assert sorted(path.name[:5] for path in mount.iterdir() if path.is_dir()) == ["en-zh", "zh-en"]

    # The third script has an address, although only its file names it.
    assert post(f"{api}/count_characters", {"text": "你好"})[2] == {"characters": 2}

    status, headers, answer = post(f"{api}/segment", {"text": "你好"})
    assert (status, answer["words"][0]["pinyin"]) == (200, "nǐhǎo")
    assert headers["Access-Control-Allow-Origin"] == "*"
    status, headers, _ = post(f"{api}/segment", None, method="OPTIONS")
    assert status in (200, 204)
    assert "POST" in headers["Access-Control-Allow-Methods"]

    status, _, answer = post(f"{api}/translate", {"text": "你" * 30_000})
    assert (status, answer["error"]["code"]) == (413, "text_too_long")
    assert post(f"{api}/other", {})[0] == 404
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(f"{api}/translate", {"text": "我饿了。"}), range(4)))
    assert {(status, answer["translation"]) for status, _, answer in answers} == {(200, answers[0][2]["translation"])}

    make("destroy", copy, account.environ)
    assert account.aws("lambda", "list-functions")["Functions"] == []
    assert account.aws("efs", "describe-file-systems")["FileSystems"] == []
    assert account.aws("apigatewayv2", "get-apis")["Items"] == []
    assert account.aws("logs", "describe-log-groups")["logGroups"] == []
    stacks = account.aws("cloudformation", "describe-stacks")["Stacks"]
    assert [stack["StackName"] for stack in stacks] == ["CDKToolkit"]
