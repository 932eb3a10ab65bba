"""Serve the page on this machine, and behind it the functions, without Docker and AWS: python serve.py [SAMPLE]

The buckets are folders, and what S3 would start, one thread starts. PORT is where the server listens. description.py
says what chooses the language model.
"""

import json
import os
import queue
import re
import sys
import tempfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import describe
import recognise
import results
import storage
import track
import upload
from aws import RECOGNISED, REQUESTS, TRACKS
from errors import RequestError, request_error
from jobs import parse_key
from messages import MAX_BODY_BYTES
from stages import record_failure, run_once

HERE = Path(__file__).parent
FILES = {"/": "index.html", "/app.js": "app.js", "/style.css": "style.css"}
MEDIA_TYPES = {**storage.MEDIA_TYPES, ".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

# What an object starts: by bucket and folder.
STARTS = {
    (REQUESTS, "requests"): ("track", track.run),
    (TRACKS, "tracks"): ("recognise", recognise.run),
    (RECOGNISED, "recognised"): ("describe", describe.run),
}


class Server(ThreadingHTTPServer):
    """Holds the objects, and the queue of events."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, sample, folder):
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://localhost:{self.server_port}"
        self.hosts = {f"{host}:{self.server_port}" for host in ("localhost", "127.0.0.1")}
        self.events = queue.Queue()
        self.sample = sample
        storage.use(storage.Folder(folder, self.tell))
        Thread(target=self.work, daemon=True).start()

    def tell(self, bucket, key):
        if (bucket, key.split("/")[0]) in STARTS:
            self.events.put((bucket, key))

    def work(self):
        while True:
            bucket, key = self.events.get()
            name, run = STARTS[bucket, key.split("/")[0]]
            try:
                run_once(name, run, bucket, key, {})
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
                record_failure(name, parse_key(key), "internal", "The stage failed; the terminal says why.")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self):
        try:
            self.check()
            self.answer(unquote(urlsplit(self.path).path))
        except RequestError as error:
            self.close_connection = True  # a body may not have been read
            self.send_json(error.status, {"error": {"code": type(error).__name__, "message": str(error)}})

    do_POST = do_PUT = do_GET

    def check(self):
        """Let no other site's page use this server through its visitor's browser."""
        foreign = self.headers.get("Origin") not in (None, *(f"http://{host}" for host in self.server.hosts))
        if self.headers.get("Host") not in self.server.hosts or foreign:
            raise request_error("host_not_allowed", "This server answers its own page only.")

    def answer(self, path):
        if self.command == "GET" and path in FILES:
            return self.send_file(HERE / "page" / FILES[path])
        if self.command == "GET" and path == "/sample" and self.server.sample.exists():
            return self.send_file(self.server.sample)
        if self.command == "POST" and path == "/videos":
            return self.send_json(*upload.answer({"body": self.read_body(MAX_BODY_BYTES).decode(errors="replace")}, {}))
        if self.command == "GET" and (match := re.fullmatch("/videos/([^/]+)", path)):
            return self.send_json(*results.answer({"pathParameters": {"id": match[1]}}, {}))
        if match := re.fullmatch("/files/([a-z]+)/([A-Za-z0-9_./-]+)", path):
            return self.exchange(*match.groups())
        raise request_error("not_found", "There is nothing at this address.")

    def exchange(self, bucket, key):
        """Do what S3 does at a presigned address."""
        if ".." in key:
            raise request_error("not_found", "There is nothing at this address.")
        if self.command == "PUT" and bucket == REQUESTS:
            parse_key(key)
            storage.store.write(bucket, key, self.read_body(upload.MAX_BYTES), previous=None)
            return self.send_json(200, {})
        data, _ = storage.store.read(bucket, key)
        if self.command != "GET" or data is None:
            raise request_error("not_found", "There is nothing at this address.")
        return self.send_part(MEDIA_TYPES.get(Path(key).suffix, "application/octet-stream"), data)

    def send_part(self, media_type, data):
        """Send the part that is asked for, without which a browser cannot move in a video."""
        match = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", self.headers.get("Range", ""))
        if not match or int(match[1]) >= len(data):
            return self.send_data(200, media_type, data, {"Accept-Ranges": "bytes"})
        start, end = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        return self.send_data(
            206, media_type, data[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        )

    def read_body(self, most):
        text = self.headers.get("Content-Length", "0")
        if not text.isdigit() or len(text) > 12 or int(text) > most:
            raise request_error("too_large", f"The body may have {most:,} bytes.")
        return self.rfile.read(int(text))

    def send_file(self, path):
        self.send_data(200, MEDIA_TYPES[path.suffix], path.read_bytes())

    def send_json(self, status, content):
        self.send_data(status, "application/json", json.dumps(content).encode())

    def send_data(self, status, media_type, data, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for header in dict(headers).items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    sample = Path(*sys.argv[1:] or [HERE / "build/video.mp4"])
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        server = Server(int(os.environ.get("PORT", "8080")), sample, folder)
        print(f"The page is at {server.url}; Ctrl+C ends it.", flush=True)
        server.serve_forever()
