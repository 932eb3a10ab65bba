"""What comes in through API Gateway, and what goes back."""

import base64
import json
import traceback

from errors import RequestError, request_error

MAX_BODY_BYTES = 6 * 2**20  # what Lambda takes


def answer_http(answer):
    """Return a Lambda handler for a function that returns a status and content, and may raise RequestError."""

    def lambda_handler(event, context):
        log = {"request_id": getattr(context, "aws_request_id", None), "error": None}
        try:
            status, content = answer(event, log)
        except Exception as cause:
            error = explain(cause)
            log["error"] = type(error).__name__
            status, content = error.status, {"error": {"code": log["error"], "message": str(error)}}
        print(json.dumps(log))
        return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(content)}

    return lambda_handler


def explain(cause):
    """Return the RequestError for the caller; any other exception is our fault, and for the log alone."""
    if isinstance(cause, RequestError):
        return cause
    traceback.print_exception(type(cause), cause, cause.__traceback__)
    return request_error("internal", "The function failed; its log says why.")


def parse_body(event):
    """Return the JSON object in the body of an API Gateway event; raise RequestError."""
    body = event.get("body") or "{}"
    if len(body) > 2 * MAX_BODY_BYTES:
        raise request_error("too_large", f"The body may hold {MAX_BODY_BYTES:,} bytes at most.")
    try:
        body = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body
    except (ValueError, TypeError):
        raise request_error("invalid_body", "The body is not base64, though isBase64Encoded says so.") from None
    try:
        request = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise request_error("invalid_json", "The body must be JSON.") from None
    if not isinstance(request, dict):
        raise request_error("invalid_json", "The body must be a JSON object.")
    return request
