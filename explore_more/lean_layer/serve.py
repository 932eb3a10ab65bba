"""Serve the page and the function on this machine: run python serve.py, then open http://localhost:8080."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

FOLDER = Path(__file__).parent
PORT = int(os.environ.get("PORT") or 8080)
MAX_BODY_BYTES = 6_000_000  # Lambda's own limit

sys.path.insert(0, str(FOLDER / "translation_function"))
from app import RequestError, lambda_handler  # noqa: E402

one_at_a_time = Lock()  # as Lambda does


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/":
            return self.refuse(404, "not_found", "There is only a page at /.")
        return self.send(200, "text/html; charset=utf-8", (FOLDER / "page.html").read_bytes())

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return self.refuse(413, "too_large", "The body is too large; at most 6 MB are allowed.")
        try:
            event = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return self.refuse(400, "invalid_json", 'The body must be JSON, such as {"sentences": ["…"]}.')
        try:
            with one_at_a_time:
                return self.answer(200, lambda_handler(event, None))
        except RequestError as error:
            return self.refuse(error.status, type(error).__name__, str(error))

    def refuse(self, status, code, message):
        self.answer(status, {"error": {"code": code, "message": message}})

    def answer(self, status, content):
        self.send(status, "application/json", json.dumps(content).encode())

    def send(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def main():
    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        print(f"The page is at http://localhost:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
