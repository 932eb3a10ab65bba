"""deploy.sh in a rehearsal: an AWS on this machine, and a copy of the checkout to deploy to it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import ROOT

from tests.harness.aws import Account, running_aws
from tests.harness.containers import find_base

NAME = "clothing-classifier"
PYTHON = "3.13"  # what deploy.sh deploys by default
# Its other defaults, which bring back what a test has set: deploy.sh keeps what is deployed.
SETTLED = re.findall(r"^  settle (\w+) +([^\s\"]+) ", (ROOT / "deploy.sh").read_text(), re.MULTILINE)
DEFAULTS = {name: default.strip("'") for name, default in SETTLED}


class Rehearsal(Account):
    """An account with a copy of the checkout.

    `is_live` tells whether what deploy.sh did last was to deploy the checkout as it is, with default settings.
    """

    defaults = DEFAULTS

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.environ["BASE"] = find_base(PYTHON)
        self.environ["READY_SECONDS"] = "5"  # ministack's endpoints and keys answer at once
        self.checkout = self.folder / "checkout"
        self.copy_checkout()
        self.is_live, self.has_defaults = False, True

    def reset(self):
        """Empty the account, and make a fresh checkout."""
        super().reset()
        self.copy_checkout()
        self.is_live, self.has_defaults = False, True

    def copy_checkout(self):
        """Put the files of the working tree, as a clone would have them, into `checkout`."""
        shutil.rmtree(self.checkout, ignore_errors=True)
        self.is_edited = False
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
            if (ROOT / name).exists():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.checkout / name)

    def deploy(self, *arguments, kill_at=None, **settings):
        """Run deploy.sh; return its `status`, `output` and `errors`. Kill it at once when it announces `kill_at`."""
        environ = {name: value for name, value in {**self.environ, **settings}.items() if value is not None}
        process = subprocess.Popen(
            ["./deploy.sh", *arguments],
            cwd=self.checkout,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.kill = lambda: os.killpg(process.pid, signal.SIGKILL)
        errors = []
        for line in process.stderr:
            errors.append(line)
            if kill_at and line.startswith(f"→ {kill_at}"):
                self.kill()
        output = process.stdout.read()
        status = process.wait()
        self.has_defaults = settings == DEFAULTS or (self.has_defaults and not settings)
        self.is_live = status == 0 and self.has_defaults and not (arguments or self.is_edited)
        return SimpleNamespace(status=status, output=output, errors="".join(errors))

    def client(self, *photos, **environ):
        """Run test.py in the checkout, as its user does after deploy.sh."""
        clean = {name: self.environ[name] for name in ("PATH", "HOME")}
        command = [sys.executable, "test.py", *map(str, photos)]
        return subprocess.run(
            command, cwd=self.checkout, env={**clean, **environ}, capture_output=True, text=True, check=False
        )

    @property
    def url(self):
        """The endpoint that deploy.sh saved for test.py."""
        return (self.checkout / ".predict-url").read_text().strip()

    def edit(self, name, old, new):
        """Replace `old`, which must be there, in a file of the checkout."""
        self.is_edited = True
        path = self.checkout / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account."""
    with running_aws(tmp_path_factory.mktemp("aws"), Rehearsal) as account:
        yield account


@pytest.fixture
def empty(account):
    """The account without anything in it, and a fresh checkout."""
    account.reset()
    return account


@pytest.fixture
def stackless(account):
    """The account with the image at most, which takes longest to push, and a fresh checkout."""
    account.proxy.reset()
    account.aws("cloudformation", "delete-stack", "--stack-name", NAME)
    account.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", NAME)
    account.copy_checkout()
    account.is_live, account.has_defaults = False, True
    return account
