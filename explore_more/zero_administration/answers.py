"""Turn a function that answers a request into a Lambda handler, from JSON to JSON; and define the errors."""

import base64
import json
import sys
import traceback
from functools import wraps

# Every code with its HTTP status: 4xx if the caller is at fault, 5xx if this function is.
STATUS = {
    "invalid_json": 400,
    "unsupported_event": 400,
    "missing_text": 400,
    "empty_text": 400,
    "invalid_text": 400,
    "invalid_option": 400,
    "unknown_option": 400,
    "unsupported_pair": 400,
    "not_found": 404,
    "text_too_long": 413,
    "sentence_too_long": 413,
    "wrong_language": 422,
    "internal": 500,
    "model_missing": 500,
    "model_not_ready": 503,
}
RETRY_SECONDS = 5


class RequestError(Exception):
    """The reason why a request gets no answer, as a sentence for the caller; `status` is the HTTP status."""


# Lambda reports the name of an error's class as `errorType`.
ERRORS = {code: type(code, (RequestError,), {"status": status}) for code, status in STATUS.items()}


def request_error(code, message):
    """Return a RequestError whose class is named `code`."""
    return ERRORS[code](message)


def answering(answer):
    """Return a Lambda handler for `answer`, which turns a request, a dict, into plain JSON or raises RequestError.

    A direct event is the request itself. An event of an HTTP API has the request in its body, and gets a response.
    """

    @wraps(answer)
    def handler(event, context):
        is_proxy = isinstance(event, dict) and ("body" in event or "requestContext" in event)
        try:
            answered = answer(check_request(parse_body(event) if is_proxy else event))
        except Exception as cause:
            error = explain(cause)
            if not is_proxy:
                raise error.with_traceback(None) from None
            return error_response(error)
        return response(200, answered) if is_proxy else answered

    return handler


def parse_body(event):
    """Return the JSON in the body of an HTTP event, decoded; raise RequestError."""
    try:
        body = event.get("body") or ""
        return json.loads(base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body)
    except (ValueError, TypeError, RecursionError):
        raise request_error("invalid_json", 'The body must be JSON, such as {"text": "…"}.') from None


def check_request(request):
    if not isinstance(request, dict):
        raise request_error("unsupported_event", 'Send a JSON object, such as {"text": "…"}.')
    return request


def check_options(request, options):
    """Raise RequestError if a request has a key that is neither "text" nor an option."""
    unknown = sorted(set(request) - {"text", *options})
    if unknown:
        raise request_error("unknown_option", f"{unknown[0]!r:.40} is not an option; use {', '.join(options)}.")


def explain(cause):
    """Return the RequestError to show to the caller; log any other exception."""
    if isinstance(cause, RequestError):
        return cause
    traceback.print_exception(cause, file=sys.stdout)
    return request_error("internal", "The function failed; its log says why.")


def response(status, content, **headers):
    headers = {"Content-Type": "application/json", **headers}
    return {"statusCode": status, "headers": headers, "body": json.dumps(content, ensure_ascii=False)}


def error_response(error):
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else {}
    return response(error.status, {"error": {"code": type(error).__name__, "message": str(error)}}, **headers)
