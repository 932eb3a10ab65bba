"""Serve the page and every script of inference/ on this machine: python serve.py"""

import os
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Lock

from answers import error_response, request_error

FOLDER = Path(__file__).parent
PORT = int(os.environ.get("PORT") or 8080)
FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
MAX_BODY_BYTES = 6_000_000  # Lambda's own limit
# As for the API in AWS, any page may send requests, such as the extension's page.
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type"}

scripts = {f"/{path.stem}": import_module(f"inference.{path.stem}") for path in (FOLDER / "inference").glob("*.py")}
one_at_a_time = Lock()  # as Lambda does


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path not in FILES:
            return self.refuse("not_found", "There is only a page at /.")
        name, kind = FILES[self.path]
        return self.send(200, {"Content-Type": f"{kind}; charset=utf-8"}, (FOLDER / "extension" / name).read_bytes())

    def do_OPTIONS(self):
        self.send(204, CORS, b"")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return self.refuse("text_too_long", "The body is too large; at most 6 MB are allowed.")
        body = self.rfile.read(int(length)).decode(errors="replace")
        if self.path not in scripts:
            return self.refuse("not_found", f"There is no such script; the scripts are {', '.join(sorted(scripts))}.")
        with one_at_a_time:
            return self.answer(scripts[self.path].handler({"body": body}, None))

    def refuse(self, code, message):
        """Refuse a request that the gateway would refuse in AWS."""
        self.answer(error_response(request_error(code, message)))

    def answer(self, response):
        self.send(response["statusCode"], {**response["headers"], **CORS}, response["body"].encode())

    def send(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def main():
    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        print(f"The page is at http://localhost:{server.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
