"""Serve the function on this machine, in AWS's runtime interface emulator, and a page for it, until Ctrl-C.

PORT=8080 PAGE_PORT=8081 python -m web.serve

CORS_ORIGIN names the one other site whose pages may ask it, or * for every site.
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


def read_origin(page_port):
    """Return the site in CORS_ORIGIN, the page's own without it; exit with one line when it is none."""
    text = os.environ.get("CORS_ORIGIN") or f"http://localhost:{page_port}"
    if not re.fullmatch(r"\*|https?://[A-Za-z0-9.-]+(:[0-9]+)?", text):
        sys.exit(f"serve.py: CORS_ORIGIN must be * or a site such as https://example.com, not {text!r}.")
    return text


def random_loopback():
    """Return one of this machine's 16 million addresses of its own, which no web page can try one by one."""
    return "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))


def start_emulator(host, port, cors_origin):
    """Start the emulator with the function, on loopback only and with photos from there; it logs to stderr."""
    environ = {"ALLOW_LOOPBACK": "true", **os.environ, "CORS_ORIGIN": cors_origin}
    command = emulator_command(port, host=host)
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=sys.stderr, start_new_session=True)


def leave(number, frame):
    """Exit on the first signal; further ones cannot cut short what `stop` does."""
    for other in STOP_SIGNALS:
        signal.signal(other, lambda *_: None)
    sys.exit(128 + number)


def serve(port, answer, cors_origin):
    """Serve a function of web requests on 127.0.0.1:`port`, in a thread of its own."""
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
            time.sleep(0.1)  # waiting without an end could sleep through a signal that comes just before
        sys.exit(emulator.returncode)
    finally:
        stop(emulator)


if __name__ == "__main__":
    main()
