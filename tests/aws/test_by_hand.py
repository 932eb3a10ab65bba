"""The commands by hand of docs/8_deploy.md, one after the other in one shell, as a reader types them."""

import re
import subprocess

import pytest
from check_readme import blocks, differences
from conftest import ROOT
from rehearsal import PYTHON, account  # noqa: F401

from tests.harness.containers import find_base

HEADING = "## By hand, once\n"
# What has another address on this machine than on AWS
HERE = {
    "REGISTRY=$ACCOUNT.dkr.ecr.$AWS_REGION.amazonaws.com": "REGISTRY={registry}",
    "URL=https://$API.execute-api.$AWS_REGION.amazonaws.com/test/predict": (
        "URL=$AWS_ENDPOINT_URL/restapis/$API/test/_user_request_/predict"
    ),
}


def section():
    """Return the text below HEADING."""
    text = (ROOT / "docs/8_deploy.md").read_text().split(HEADING)[1]
    return re.split(r"^## ", text, flags=re.MULTILINE)[0]


class Shell:
    """A bash that keeps its variables from one command to the next."""

    def __init__(self, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(["bash"], **pipes, **options, text=True)

    def run(self, command):
        """Return the exit status of a command and the lines that it prints."""
        self.process.stdin.write(f'{{ {command}\n}} </dev/null; status=$?; echo; echo "end $status"\n')
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if re.fullmatch(r"end \d+", lines[-1]):
                break
        *output, end = lines
        return int(end.split()[1]), "\n".join(output).rstrip("\n").splitlines()


@pytest.fixture
def shell(account):  # noqa: F811
    # `docker build` asks for AWS's image by its own name.
    find_base(PYTHON, f"public.ecr.aws/lambda/python:{PYTHON}")
    shell = Shell(cwd=account.checkout, env=account.environ)
    yield shell
    shell.process.stdin.close()
    shell.process.wait()


def test_the_commands_deploy_a_function_and_an_api_and_remove_them(account, shell):  # noqa: F811
    left = set(HERE)
    asked = 0
    for block in blocks("8_deploy.md", section()):
        text = block.commands.replace("/tmp/", f"{account.folder}/")
        for line in [line for line in left if line in text]:
            text = text.replace(line, HERE[line].format(registry=account.registry))
            left.remove(line)
        status, output = shell.run(text)
        print(text, *output, sep="\n")
        assert status == 0, (text, output)
        assert not block.output or not differences(block.output, output), (text, output)
        asked += "curl" in text
    assert (left, asked) == (set(), 1)
    assert account.aws("lambda", "list-functions")["Functions"] == []
    assert account.aws("apigateway", "get-rest-apis").get("items", []) == []
    assert account.aws("ecr", "describe-repositories")["repositories"] == []
    roles = [role["RoleName"] for role in account.aws("iam", "list-roles")["Roles"]]
    assert "clothing-by-hand" not in roles


def test_every_step_is_there():
    steps = re.findall(r"^\*\*(\d)\. (.*?)\*\*", section(), re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 9))
