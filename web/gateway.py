"""Imitate API Gateway on this machine: pass POST /predict to the function as AWS does, and serve the page."""

import json
import sys
from pathlib import Path
from urllib.parse import parse_qsl

from web.function import MAX_EVENT_BYTES, HttpError

WEB = Path(__file__).resolve().parent
FILES = {f"/samples/{path.name}": path for path in sorted(WEB.glob("samples/*.jpg"))}
FILES.update({"/": WEB / "index.html", **{f"/{name}": WEB / name for name in ("page.css", "page.js")}})
FILES.update({f"/{name}": WEB.parent / name for name in ("metrics.json", "openapi.yaml")})  # used by the page
KINDS = {  # content types; `mimetypes` is not used, because its answers differ between systems
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".jpg": "image/jpeg",
}
FILE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
TIMEOUT_SECONDS = 29  # API Gateway's limit
ALLOWED_HEADERS = "Content-Type,X-Api-Key,Authorization,X-Amz-Date,X-Amz-Security-Token,X-Amz-Content-Sha256"


class Gateway:
    """Answers as a REST API with a Lambda proxy integration does, with CORS headers for pages of `cors_origin`."""

    def __init__(self, function, cors_origin):
        self.function, self.cors_origin = function, cors_origin

    def answer(self, environ):
        """Return (status, headers, body) for a WSGI environment; raise HttpError."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if (method, path) == ("POST", "/predict"):
            return self.predict(environ)
        if (method, path) == ("OPTIONS", "/predict"):
            allowed = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": ALLOWED_HEADERS}
            return 204, {"Access-Control-Allow-Origin": self.cors_origin, **allowed}, b""
        if method in ("GET", "HEAD") and path in FILES:
            file = FILES[path]
            return 200, {"Content-Type": KINDS[file.suffix], **FILE_HEADERS}, file.read_bytes()
        raise HttpError(403, "MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")

    def predict(self, environ):
        """Return the function's answer as (status, headers, body); raise HttpError."""
        event = json.dumps(make_event(environ)).encode()
        if len(event) > MAX_EVENT_BYTES:
            raise HttpError(413, "REQUEST_TOO_LARGE", "Request Too Long")
        _, _, answer = self.function.ask(event, seconds=TIMEOUT_SECONDS)
        try:
            return read_answer(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"gateway.py: the function's answer is not a proxy response ({error!r})", file=sys.stderr)
            raise HttpError(502, "DEFAULT_5XX", "Internal server error") from None


def make_event(environ):
    """Return the event that API Gateway would make of a request, given as a WSGI environment.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    headers.update({name: environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ})
    return {
        "resource": environ["PATH_INFO"],
        "path": environ["PATH_INFO"],
        "httpMethod": environ["REQUEST_METHOD"],
        "headers": {name.replace("_", "-").title(): value for name, value in headers.items()},
        "queryStringParameters": dict(parse_qsl(environ["QUERY_STRING"])) or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": environ["PATH_INFO"],
            "httpMethod": environ["REQUEST_METHOD"],
            "stage": "local",
            "identity": {"sourceIp": environ["REMOTE_ADDR"], "userAgent": environ.get("HTTP_USER_AGENT")},
        },
        "body": environ["wsgi.input"].read().decode(errors="replace") or None,
        "isBase64Encoded": False,
    }


def read_answer(answer):
    """Return (status, headers, body) of a function's proxy response; raise an error if it is not one."""
    answer = json.loads(answer)
    status = int(answer["statusCode"])
    if not 200 <= status < 600:
        raise ValueError(f"statusCode {status}")
    return status, {name: str(value) for name, value in answer["headers"].items()}, answer["body"].encode()
