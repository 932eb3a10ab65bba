"""AWS's runtime interface emulator, which serves a handler on loopback as Lambda does, without Docker.

The handler's Python needs `awslambdaric`. Either that Python or this one needs `aws-sam-cli`.
"""

import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.harness.servers import free_port, stop, wait_until_open

EMULATORS = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
PATH = "/2015-03-31/functions/function/invocations"
HANDLER = "lambda_function.lambda_handler"


def find_emulator(python):
    """Return the path of AWS's emulator for this processor, made executable; exit if there is none."""
    if platform.system() != "Linux" or platform.machine() not in EMULATORS:
        sys.exit(f"AWS has no emulator for {platform.system()} on {platform.machine()}; use Docker instead.")
    for folder in (*sys.path, *Path(python).parent.parent.glob("lib/python3*/site-packages")):
        emulator = Path(folder, "samcli/local/rapid", EMULATORS[platform.machine()])
        if emulator.exists():
            emulator.chmod(0o755)
            return emulator
    sys.exit(f"AWS's emulator is missing; install aws-sam-cli for {python}.")


def emulator_command(port, python=sys.executable, handler=HANDLER, host="127.0.0.1"):
    """Return the command that serves a handler on `host`:`port`, with AWS's runtime client for that Python."""
    command = [str(find_emulator(python)), "--log-level", "warning"]
    command += ["--runtime-interface-emulator-address", f"{host}:{port}"]
    command += ["--runtime-api-address", f"{host}:{free_port()}"]
    return [*command, str(python), "-m", "awslambdaric", handler]


@contextmanager
def emulating(folder, python=sys.executable, handler=HANDLER, log=subprocess.DEVNULL, **environ):
    """Serve a handler of a folder until the block ends; yield the address that takes its events."""
    port = free_port()
    command = emulator_command(port, python, handler)
    emulator = subprocess.Popen(command, cwd=folder, env={**os.environ, **environ}, stdout=log, stderr=log)
    try:
        wait_until_open(port, emulator)
        yield f"http://127.0.0.1:{port}{PATH}"
    finally:
        stop(emulator)
