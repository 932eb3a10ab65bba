"""The Lambda image for each Python version in the README, built and run by a real Docker Engine."""

import json
import math
import os
import re
import subprocess
import sys

import hostile
import pytest
from conftest import GOOD, PHOTOS, ROOT, TROUSERS, encode

import limits
from lambda_function import CLASSES
from tests.harness.containers import build, docker, find_base, megabytes_without_base, running

VERSIONS = ("3.8", "3.13")
TEMPLATE = (ROOT / "template.yaml").read_text()
MAX_MEGABYTES = 130
MEMORY = int(re.search(r"^  Memory:\n(?:    .*\n)*    Default: (\d+)$", TEMPLATE, re.MULTILINE)[1])
MAX_EVENT = 6_291_000  # bytes, https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_BODY = 5_880_000
# A read-only root, a user other than root, and Lambda's limits on files, processes and memory.
AS_ON_LAMBDA = ["--read-only", "--tmpfs=/tmp:size=512m", "--user=993:990", f"--memory={MEMORY}m"]
AS_ON_LAMBDA += [f"--memory-swap={MEMORY}m", "--ulimit=nofile=1024:1024", "--pids-limit=1024"]
BAD = [
    {},
    [],
    {"image": "?"},
    {"image": encode(b"no photo")},
    {"image": encode(TROUSERS.read_bytes()[:5000])},
    {"url": "file:///etc/passwd"},
    {"url": "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next"},
    {"body": "{", "requestContext": {}},
]


@pytest.fixture(scope="session", params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="session")
def base(version):
    """The image to build on: AWS's, or the stand-in if AWS's cannot be pulled."""
    name = find_base(version)
    print(f"Python {version} is built on {name}")
    return name


@pytest.fixture(scope="session")
def image(version, base):
    """The image of the working tree."""
    return build(ROOT, f"clothing-classifier:{version}", PYTHON_VERSION=version, BASE=base)


def memory(container):
    """Return the resident bytes of the process that runs the handler."""
    lines = docker("top", container.name, "-o", "pid,rss,args").splitlines()
    (resident,) = [line.split()[1] for line in lines if "awslambdaric" in line and "aws-lambda-rie" not in line]
    return int(resident) * 1024


@pytest.fixture
def container(image):
    with running(image, *AS_ON_LAMBDA) as container:
        yield container


def test_the_client_gets_scores_from_port_8080(image):
    with running(image, port=8080):
        environ = {name: os.environ[name] for name in os.environ if name not in ("PREDICT_URL", "API_NUMBER")}
        lines = subprocess.check_output([sys.executable, ROOT / "test.py"], env=environ, text=True).splitlines()
    scores = json.loads("\n".join(lines[:-1]))
    assert list(scores) == CLASSES
    assert lines[-1] == max(scores, key=scores.get) == "pants"


def test_it_is_small(version, base, image, capsys):
    megabytes = megabytes_without_base(image, base)
    with capsys.disabled():
        print(f"\nPython {version}: {megabytes} MB without the base", end=" ")
    assert 30 < megabytes <= MAX_MEGABYTES


def test_it_holds_the_model_the_code_and_the_locked_packages(version, image):
    code = """
import importlib.metadata, json, os
packages = {d.metadata["Name"].replace("_", "-"): d for d in importlib.metadata.distributions(path=["."])}
files = {file.parts[0] for package in packages.values() for file in package.files}
print(json.dumps([sorted(packages), sorted(set(os.listdir(".")) - files)]))
"""
    packages, others = json.loads(docker("run", "--rm", "--entrypoint", "python3", image, "-c", code))
    lock = (ROOT / f"requirements/python{version}.txt").read_text()
    assert packages == sorted(line.split("==")[0] for line in lock.splitlines() if "==" in line)
    assert others == [
        "__pycache__",
        "addresses.py",
        "clothing_model.tflite",
        "download.py",
        "errors.py",
        "image_source.py",
        "interpreter.py",
        "lambda_function.py",
        "limits.py",
    ]


def test_the_image_has_the_hooks_of_snapstart_where_lambda_has_snapstart(image, version):
    code = "import sys; sys.path.append('/var/runtime'); import lambda_function; print(bool(lambda_function.snapstart))"
    assert docker("run", "--rm", "--entrypoint", "python3", image, "-c", code) == str(version == "3.13")


def test_a_cold_start_compiles_nothing(image):
    command = ["docker", "run", "--rm", "--entrypoint", "python3", image, "-v", "-c", "import lambda_function"]
    imports = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    files = [line.split()[-1] for line in imports if line.startswith("# code object from") and "/var/task" in line]
    assert files
    assert [file for file in files if not file.strip("'").endswith(".pyc")] == []


def test_it_runs_as_lambda_runs_it(container):
    for photo in PHOTOS:
        assert list(container.ask({"image": encode(photo.read_bytes())})) == CLASSES
    assert container.ask({**GOOD, "requestContext": {}, "body": json.dumps(GOOD)})["statusCode"] == 200
    logs = container.logs()
    assert '"error": null' in logs
    assert "XNNPACK cannot run" not in logs


def test_it_runs_where_the_processors_are_not_listed(image, tmp_path):
    """Lambda hides /sys/devices/system/cpu, where libraries count processors."""
    with running(image, "--volume", f"{tmp_path}:/sys/devices/system/cpu:ro") as container:
        assert list(container.ask(GOOD)) == CLASSES
        assert "XNNPACK cannot run" not in container.logs()


def test_bad_requests_change_no_score(container):
    before = container.ask(GOOD)
    answers = [container.ask(event) for event in BAD]
    assert [answer for answer in answers if "dress" in answer] == []
    assert container.ask(GOOD) == before


def test_the_worst_requests_need_a_tenth_less_than_the_memory(image, tmp_path):
    """The largest photos of every format, padded, with as much JSON beside them as an event may have."""
    photos = hostile.largest(math.isqrt(limits.MAX_PIXELS), limits.MAX_DOWNLOAD_BYTES)
    for number, photo in enumerate(photos):
        (tmp_path / f"{number}").write_bytes(photo)
    memory = f"{MEMORY * 9 // 10}m"
    options = [*AS_ON_LAMBDA, f"--memory={memory}", f"--memory-swap={memory}", "--env=ALLOW_LOOPBACK=true"]
    options += ["--env=DOWNLOAD_SECONDS=60", "--env=DECODE_SECONDS=60"]
    with running(image, *options) as container:
        # The server runs in a container of its own, so that its memory does not count, but on the same loopback.
        share = [f"--network=container:{container.name}", f"--volume={tmp_path}:/photos:ro", "--entrypoint=python3"]
        server = docker("run", "--detach", *share, image, "-m", "http.server", "9000", "--directory", "/photos")
        try:
            for event in worst_events(number + 1):
                answer = container.ask(event.encode())
                assert list(json.loads(answer["body"]) if "body" in answer else answer) == CLASSES
        finally:
            docker("rm", "--force", server)


def worst_events(count):
    """Yield events of the greatest size that Lambda accepts, with the address of each photo."""
    keys = ",".join(f'"{key:x}":0' for key in range((MAX_EVENT - 100) // 10))  # of ten bytes at most
    for number in range(count):
        url = f'"url": "http://127.0.0.1:9000/{number}"'
        yield f'{{{url}, "note": {hostile.nested_json(MAX_EVENT)}}}'
        yield f"{{{url}, {keys}}}"
        yield json.dumps({"body": f'{{{url}, "note": {hostile.nested_json(MAX_BODY)}}}'})


def test_two_hundred_requests_leave_memory_flat(container):
    events = [{"image": encode(photo.read_bytes())} for photo in PHOTOS]
    for event in events:
        container.ask(event)
    before = memory(container)
    for _ in range(10):
        first, *_ = [container.ask(event) for event in events]
    assert memory(container) - before < 3_000_000
    assert container.ask(events[0]) == first


def test_it_ends_on_sigterm(container):
    container.ask(GOOD)
    docker("stop", "--time", "20", container.name)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container.name) != "137"


def test_packages_of_another_python_fail_the_build(version, base):
    (other,) = {*VERSIONS} - {version}
    command = ["docker", "build", "--build-arg", f"PYTHON_VERSION={other}", "--build-arg", f"BASE={base}", ROOT]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
