"""Serve the function on this machine, in AWS's runtime interface emulator, and a page for it, until Ctrl-C.

PORT=8080 PAGE_PORT=8081 python -m web.serve
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

from tests.harness.emulator import PATH, emulator_command
from tests.harness.servers import stop, wait_until_open
from web.gateway import Gateway

ROOT = Path(__file__).resolve().parent.parent
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_port(name, default):
    """Return the port number in an environment variable; exit with one line when it is none, or taken."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        sys.exit(f"serve.py: {name} must be a number from 1 to 65535, not {text!r}.")
    check_port(name, int(text))
    return int(text)


def check_port(name, port):
    """Exit with one line when 127.0.0.1:`port` cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"serve.py: port {port} cannot be used ({error.strerror}); try another: {name}=9000 make run")


def start_emulator(port):
    """Start the emulator with the function, on loopback only and with photos from there; it logs to stderr."""
    environ = {"ALLOW_LOOPBACK": "true", "CORS_ORIGIN": "*", **os.environ}
    return subprocess.Popen(emulator_command(port), cwd=ROOT, env=environ, stdout=sys.stderr, start_new_session=True)


def leave(number, frame):
    """Exit on the first signal; further ones cannot cut short what `stop` does."""
    for other in STOP_SIGNALS:
        signal.signal(other, lambda *_: None)
    sys.exit(128 + number)


def main():
    port = read_port("PORT", 8080)
    page_port = read_port("PAGE_PORT", port + 1)
    for number in STOP_SIGNALS:
        signal.signal(number, leave)
    url = f"http://localhost:{port}{PATH}"
    emulator = start_emulator(port)
    try:
        try:
            wait_until_open(port, emulator)
        except RuntimeError:
            sys.exit("serve.py: the emulator did not start; its last lines above say why.")
        if subprocess.call([sys.executable, ROOT / "test.py"], env={**os.environ, "PREDICT_URL": url}):
            sys.exit("serve.py: the function did not answer with scores; the lines above say why.")
        gateway = Gateway(page_port, url, os.environ.get("CORS_ORIGIN", "*"))
        Thread(target=gateway.serve_forever, daemon=True).start()
        print(f"The page is at http://localhost:{page_port}/, for POST http://localhost:{page_port}/predict.")
        print(f"Serving {url} until Ctrl-C.", flush=True)
        sys.exit(emulator.wait())
    finally:
        stop(emulator)


if __name__ == "__main__":
    main()
