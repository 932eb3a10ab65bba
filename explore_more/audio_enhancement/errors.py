"""The errors that a request can get."""

# Every code with its HTTP status: 4xx if the caller or the address is at fault, 5xx if this function is.
STATUS = {
    "missing_input": 400,
    "ambiguous_input": 400,
    "invalid_json": 400,
    "invalid_body": 400,
    "invalid_base64": 400,
    "invalid_option": 400,
    "invalid_url": 400,
    "unsupported_scheme": 400,
    "unsupported_event": 400,
    "port_not_allowed": 403,
    "host_not_allowed": 403,
    "address_not_allowed": 403,
    "redirect_downgrade": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "too_long": 413,
    "unsupported_format": 415,
    "no_audio": 422,
    "empty_audio": 422,
    "encrypted": 422,
    "truncated": 422,
    "undecodable": 422,
    "unsupported_rate": 422,
    "too_many_channels": 422,
    "dns_failed": 424,
    "connect_failed": 424,
    "tls_failed": 424,
    "fetch_timeout": 424,
    "too_many_redirects": 424,
    "incomplete_body": 424,
    "unsupported_encoding": 424,
    "upstream_status": 424,
    "internal": 500,
}


class RequestError(Exception):
    """The reason why a request gets no audio, as a sentence for the caller; `status` is the HTTP status."""


# Lambda reports the name of an error's class as `errorType`.
ERRORS = {code: type(code, (RequestError,), {"status": status}) for code, status in STATUS.items()}


def request_error(code, message):
    """Return a RequestError whose class is named `code`."""
    return ERRORS[code](message)
