"""Serve the page and the API of the jobs on this machine, without Docker or AWS: python serve.py

The page sends the same requests as it sends to AWS: POST /jobs, PUT of the upload, POST and GET /jobs/{id}.
"""

import json
import os
import re
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import limits
from enhance import enhance
from errors import RequestError, request_error
from messages import explain, parse_body, read_options
from storage import scratch

PAGE = Path(__file__).with_name("page")
FILES = {"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css"}
SAMPLE = Path(__file__).with_name("samples") / "noisy.m4a"
MAX_JOBS = 20


class Server(ThreadingHTTPServer):
    """A server with its jobs, which run one at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://localhost:{self.server_port}"
        self.hosts = {f"{host}:{self.server_port}" for host in ("localhost", "127.0.0.1")}
        self.jobs, self.one = {}, Lock()

    def create(self, request):
        size = request.get("upload")
        if type(size) is not int or not 0 < size <= limits.MAX_OBJECT_BYTES:
            raise request_error("too_large", f'"upload" must be a size of 1 to {limits.MAX_OBJECT_BYTES:,} bytes.')
        if len(self.jobs) >= MAX_JOBS:
            del self.jobs[next(iter(self.jobs))]
        job = {"id": str(uuid.uuid4()), "state": "waiting", "options": read_options(request), "size": size}
        self.jobs[job["id"]] = job
        return {"id": job["id"], "state": "waiting", "upload": f"/uploads/{job['id']}"}

    def find(self, identifier):
        if identifier not in self.jobs:
            raise request_error("not_found", f"There is no such job; only the last {MAX_JOBS} are kept.")
        return self.jobs[identifier]

    def run(self, job):
        with self.one:
            job["state"] = "running"
            try:
                job["target"] = scratch()

                def progress(done, seconds):
                    job["progress"] = min(1.0, done / seconds) if seconds else None

                made = enhance(job["source"], job["target"], progress=progress, **job["options"])
                job.update(state="done", result={**made, "url": f"/results/{job['id']}"})
            except Exception as cause:
                error = explain(cause, {})
                job.update(state="failed", error={"code": type(error).__name__, "message": str(error)})
            finally:
                job.pop("source").close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        self.answer_safely()

    do_POST = do_PUT = do_GET

    def answer_safely(self):
        try:
            self.check()
            self.answer()
        except RequestError as error:
            self.close_connection = True  # the body may be unread
            self.send_json(error.status, {"error": {"code": type(error).__name__, "message": str(error)}})

    def check(self):
        """Refuse requests that another site's page sends through the user's browser."""
        foreign = self.headers.get("Origin") not in (None, *(f"http://{host}" for host in self.server.hosts))
        if self.headers.get("Host") not in self.server.hosts or foreign:
            raise request_error("host_not_allowed", "This server answers only its own page.")

    def answer(self):  # noqa: PLR0911
        server, (path, identifier) = self.server, re.fullmatch(r"(/[^/?]*)/?([^?]*).*", self.path).groups()
        if self.command == "GET" and self.path == "/sample":
            return self.send_data(200, "audio/mp4", SAMPLE.read_bytes())
        if self.command == "GET" and path in FILES and not identifier:
            name = "index.html" if path == "/" else path[1:]
            return self.send_data(200, FILES[path], (PAGE / name).read_bytes())
        if self.command == "GET" and path == "/results":
            return self.send_result(server.find(identifier))
        if self.command == "GET" and path == "/jobs":
            job = server.find(identifier)
            return self.send_json(
                200, {name: job[name] for name in ("id", "state", "progress", "result", "error") if name in job}
            )
        if self.command == "PUT" and path == "/uploads":
            return self.receive(server.find(identifier))
        if self.command == "POST" and path == "/jobs" and not identifier:
            return self.send_json(201, server.create(parse_body({"body": self.read_body(100_000).decode()})))
        if self.command == "POST" and path == "/jobs":
            self.read_body(0)
            return self.start(server.find(identifier))
        raise request_error("not_found", "There is nothing at this address.")

    def length(self, most):
        text = self.headers.get("Content-Length", "0")
        if not text.isdigit() or len(text) > 12 or int(text) > most:
            raise request_error("too_large", f"The body may have at most {most:,} bytes.")
        return int(text)

    def read_body(self, most):
        return self.rfile.read(self.length(most))

    def receive(self, job):
        left = self.length(job["size"])
        job["source"] = scratch()
        while left and (piece := self.rfile.read(min(left, 2**20))):
            job["source"].write(piece)
            left -= len(piece)
        self.send_json(200, {})

    def start(self, job):
        if job["state"] != "waiting" or "source" not in job:
            raise request_error("conflict", "The job has no recording yet, or has already been started.")
        job["state"] = "queued"
        Thread(target=self.server.run, args=(job,), daemon=True).start()
        self.send_json(202, {"id": job["id"], "state": "queued"})

    def send_result(self, job):
        if job["state"] != "done":
            raise request_error("not_found", "The job is not done, so it has no result.")
        job["target"].seek(0)
        self.send_data(200, job["result"]["content_type"], job["target"].read())

    def send_json(self, status, content):
        self.send_data(status, "application/json", json.dumps(content).encode())

    def send_data(self, status, media_type, data):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = Server(int(os.environ.get("PORT", "8090")))
    print(f"The page is at {server.url}; Ctrl+C ends it.", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
