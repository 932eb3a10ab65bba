"""Start, await and stop servers on this machine."""

import socket
import socketserver
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

START_SECONDS = 30
STOP_SECONDS = 10
CHUNK_BYTES = 65536


def free_port():
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_open(port, process, host="127.0.0.1"):
    """Return once `host`:`port` accepts connections; raise RuntimeError if its process ends first."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex((host, port)) == 0:
                return
        time.sleep(0.02)
    status = process.poll()
    raise RuntimeError(f"nothing listens on port {port}; " + ("it takes too long" if status is None else "it ended"))


def stop(process):
    """End a process, by force if it does not end in time."""
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(server):
    """Serve in a thread until the block ends; yield the server."""
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def folder_server(folder):
    """Return a server of a folder's files on a free port of loopback."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))


class Forwarder(socketserver.ThreadingTCPServer):
    """Forwards every connection from `address` to `target`. Both are pairs of a host and a port."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, target):
        self.target = target
        super().__init__(address, ForwardHandler)


class ForwardHandler(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(self.server.target) as target:
            back = Thread(target=pump, args=(target, self.request), daemon=True)
            back.start()
            pump(self.request, target)
            back.join()


def pump(source, sink):
    """Copy bytes between sockets until the source ends, and then end the sink."""
    with suppress(OSError):  # either end may hang up
        for data in iter(partial(source.recv, CHUNK_BYTES), b""):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
