"""Serve the function in AWS's runtime interface emulator, and the page, on this machine until Ctrl-C.

PORT=8080 PAGE_PORT=8081 python -m web.serve

To let the pages of one other site use the function, set CORS_ORIGIN to that site. * allows every site.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from tests.harness.emulator import PATH, emulator_command
from tests.harness.servers import free_port, stop, wait_until_open
from web.function import Function
from web.gateway import Gateway
from web.server import Server, make_application

ROOT = Path(__file__).resolve().parent.parent
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_port(name, default):
    """Return the port in an environment variable; exit with a message if it is invalid or in use."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        sys.exit(f"serve.py: {name} must be a number from 1 to 65535, not {text!r}.")
    check_port(name, int(text))
    return int(text)


def check_port(name, port):
    """Exit with a message unless a server can listen on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"serve.py: port {port} cannot be used ({error.strerror}); try another: {name}=9000 make run")


def read_origin(page_port):
    """Return the site in CORS_ORIGIN, or the page's own if that is not set; exit with a message if it is invalid."""
    text = os.environ.get("CORS_ORIGIN") or f"http://localhost:{page_port}"
    if not re.fullmatch(r"\*|https?://[A-Za-z0-9.-]+(:[0-9]+)?", text):
        sys.exit(f"serve.py: CORS_ORIGIN must be * or a site such as https://example.com, not {text!r}.")
    return text


def random_loopback():
    """Return a random one of the 16 million loopback addresses, too many for a web page to try."""
    return "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))


def start_emulator(host, port, cors_origin):
    """Start the emulator and the function on a loopback address, with logs on stderr; photos may come from loopback."""
    environ = {"ALLOW_LOOPBACK": "true", **os.environ, "CORS_ORIGIN": cors_origin}
    command = emulator_command(port, host=host)
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=sys.stderr, start_new_session=True)


def leave(number, frame):
    """Exit on the first signal, and ignore further ones, so that `stop` can finish."""
    for other in STOP_SIGNALS:
        signal.signal(other, lambda *_: None)
    sys.exit(128 + number)


def serve(port, answer, cors_origin):
    """Serve `answer`, a function of the WSGI environment, on 127.0.0.1:`port` in a new thread."""
    server = Server(port, make_application(answer, cors_origin))
    Thread(target=server.run, daemon=True).start()


def main():
    port = read_port("PORT", 8080)
    page_port = read_port("PAGE_PORT", port + 1)
    cors_origin = read_origin(page_port)
    for number in STOP_SIGNALS:
        signal.signal(number, leave)
    host, private_port, url = random_loopback(), free_port(), f"http://localhost:{port}{PATH}"
    emulator = start_emulator(host, private_port, cors_origin)
    try:
        try:
            wait_until_open(private_port, emulator, host)
        except RuntimeError:
            sys.exit("serve.py: the emulator did not start; its last lines above say why.")
        function = Function(f"http://{host}:{private_port}{PATH}")
        serve(port, function.invoke, cors_origin)
        serve(page_port, Gateway(function, cors_origin).answer, cors_origin)
        if subprocess.call([sys.executable, ROOT / "test.py"], env={**os.environ, "PREDICT_URL": url}):
            sys.exit("serve.py: the function did not answer with scores; the lines above say why.")
        print(f"The page is at http://localhost:{page_port}/, for POST http://localhost:{page_port}/predict.")
        print(f"Serving {url} until Ctrl-C.", flush=True)
        while emulator.poll() is None:
            time.sleep(0.1)  # wait() without a time limit could miss a signal that arrives just before it
        sys.exit(emulator.returncode)
    finally:
        stop(emulator)


if __name__ == "__main__":
    main()
