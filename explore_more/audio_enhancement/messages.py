"""Read requests that come through API Gateway, and build the responses."""

import base64
import json
import os
import traceback

import limits
from errors import RequestError, request_error
from formats import KINDS


def parse_body(event):
    """Return the JSON object in the body of an API Gateway or function URL event; raise RequestError."""
    body = event.get("body") or "{}"
    if len(body) > 2 * limits.MAX_INLINE_BYTES:
        raise request_error("too_large", 'The body is too large; create a job with "upload" instead.')
    try:
        body = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body
    except (ValueError, TypeError):
        raise request_error("invalid_body", "The body is not base64, but isBase64Encoded says that it is.") from None
    try:
        request = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise request_error("invalid_json", "The body must be JSON.") from None
    if not isinstance(request, dict):
        raise request_error("invalid_json", "The body must be a JSON object.")
    return request


def read_options(request):
    """Return the options of a request as arguments of enhance(); raise RequestError."""
    kind, rate = request.get("format"), request.get("sample_rate")
    limit = request.get("attenuation_limit", 100)
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise request_error("invalid_option", f'"format" must be one of {", ".join(KINDS)}.')
    if rate is not None and not (type(rate) is int and limits.MIN_RATE <= rate <= limits.MAX_RATE):
        message = f'"sample_rate" must be a whole number from {limits.MIN_RATE} to {limits.MAX_RATE}.'
        raise request_error("invalid_option", message)
    if type(limit) not in (int, float) or not 0 <= limit <= 100:
        raise request_error("invalid_option", '"attenuation_limit" must be a number of dB from 0 to 100.')
    return {"kind": kind, "rate": rate, "attenuation_limit": float(limit)}


def explain(cause, log):
    """Return the RequestError for the caller; log where the error comes from, but nothing of the request."""
    root = cause.__cause__ or cause
    frame = traceback.extract_tb(root.__traceback__)[-1]
    log["cause"] = f"{type(root).__name__} in {os.path.basename(frame.filename)}:{frame.lineno}"
    error = cause
    if not isinstance(cause, RequestError):
        traceback.print_exception(type(cause), cause, cause.__traceback__)
        error = request_error("internal", "The function failed; its log says why.")
    log["error"] = type(error).__name__
    return error


def http_error(error):
    return http_response(error.status, {"error": {"code": type(error).__name__, "message": str(error)}})


def http_response(status, content):
    """Return a response for API Gateway's proxy integration."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(content)}
