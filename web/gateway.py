"""API Gateway on this machine: POST /predict as AWS hands it to the function, and beside it the page."""

import http.client
import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

WEB = Path(__file__).resolve().parent
FILES = {f"/samples/{path.name}": path for path in sorted(WEB.glob("samples/*.jpg"))}
FILES.update({"/": WEB / "index.html", "/openapi.yaml": WEB.parent / "openapi.yaml"})
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, of a whole event
MAX_EVENT_BYTES = 6 * 1024 * 1024
TIMEOUT_SECONDS = 29  # after which API Gateway gives up
ALLOWED_HEADERS = "Content-Type,X-Api-Key,Authorization,X-Amz-Date,X-Amz-Security-Token,X-Amz-Content-Sha256"


class Gateway(ThreadingHTTPServer):
    """Serves the page, and asks the function at `invoke_url`; `origin` is whose pages may read its own errors."""

    daemon_threads = True

    def __init__(self, port, invoke_url, origin):
        super().__init__(("127.0.0.1", port), Handler)
        self.invoke_url = urlsplit(invoke_url)
        self.origin = origin

    def invoke(self, event):
        """Return what the function answers to the event in these bytes; raise OSError, ValueError or HTTPException."""
        connection = http.client.HTTPConnection(self.invoke_url.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", self.invoke_url.path, body=event)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class Handler(BaseHTTPRequestHandler):
    """Answers as a REST API with a Lambda proxy integration does."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self):
        length = self.headers.get("Content-Length", "0")
        if self.url.path != "/predict":
            self.refuse()
        elif not length.isdecimal() or int(length) > MAX_EVENT_BYTES:
            self.fail(413, "REQUEST_TOO_LARGE", "Request Too Long")
        else:
            self.predict(self.rfile.read(int(length)))

    def predict(self, body):
        """Ask the function, and hand its answer on."""
        event = json.dumps(self.make_event(body)).encode()
        if len(event) > MAX_EVENT_BYTES:
            self.fail(413, "REQUEST_TOO_LARGE", "Request Too Long")
            return
        try:
            answer = self.server.invoke(event)
            status, content, headers = answer["statusCode"], answer["body"].encode(), answer["headers"]
        except socket.timeout:
            self.fail(504, "INTEGRATION_TIMEOUT", "Endpoint request timed out")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
            self.fail(502, "DEFAULT_5XX", "Internal server error")
        else:
            self.answer(status, content, headers)

    def make_event(self, body):
        """Return the event that API Gateway makes of this request.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        return {
            "resource": self.url.path,
            "path": self.url.path,
            "httpMethod": self.command,
            "headers": dict(self.headers),
            "queryStringParameters": dict(parse_qsl(self.url.query)) or None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": self.url.path,
                "httpMethod": self.command,
                "stage": "local",
                "identity": {"sourceIp": self.client_address[0], "userAgent": self.headers.get("User-Agent")},
            },
            "body": body.decode(errors="replace") or None,
            "isBase64Encoded": False,
        }

    def do_OPTIONS(self):
        if self.url.path != "/predict":
            self.refuse()
            return
        headers = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": ALLOWED_HEADERS}
        self.answer(204, b"", {"Access-Control-Allow-Origin": self.server.origin, **headers})

    def do_GET(self):
        path = FILES.get(self.url.path)
        if not path:
            self.refuse()
            return
        kind = "application/yaml" if path.suffix == ".yaml" else guess_type(path.name)[0]
        self.answer(200, path.read_bytes(), {"Content-Type": kind, "Cache-Control": "no-cache"})

    def refuse(self):
        self.fail(403, "MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")

    do_HEAD = do_GET
    do_PUT = do_PATCH = do_DELETE = do_TRACE = refuse

    @property
    def url(self):
        return urlsplit(self.path)

    def fail(self, status, code, message):
        """Answer with an error of the gateway's own, in the form that template.yaml gives it."""
        self.close_connection = True  # a body may be unread
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": self.server.origin}
        self.answer(status, body, {**headers, "Connection": "close"})

    def send_error(self, code, message=None, explain=None):
        """Answer a method that is not known, or what is no HTTP request."""
        self.refuse() if code == 501 else self.fail(400, "BAD_REQUEST", "Bad Request")

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass
