"""The errors of the pipeline: for requests that it refuses, and for videos that it cannot use."""

# Every code, with its HTTP status: 4xx for a fault of the caller or of the video, 5xx for one of ours.
STATUS = {
    "missing_input": 400,
    "ambiguous_input": 400,
    "invalid_json": 400,
    "invalid_body": 400,
    "invalid_base64": 400,
    "invalid_user": 400,
    "invalid_size": 400,
    "invalid_sha256": 400,
    "unsupported_event": 400,
    "host_not_allowed": 403,
    "not_found": 404,
    "too_large": 413,
    "unsupported_format": 415,
    "undecodable": 422,
    "too_many_pixels": 422,
    "internal": 500,
    "out_of_memory": 500,
    "timed_out": 504,
}


class RequestError(Exception):
    """Why a request or a video is refused, in a sentence for the caller; `status` is its HTTP status."""


# Lambda reports the name of an error's class as `errorType`.
ERRORS = {code: type(code, (RequestError,), {"status": status}) for code, status in STATUS.items()}


def request_error(code, message):
    """Return a RequestError whose class is named `code`."""
    return ERRORS[code](message)
