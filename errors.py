"""The errors that a request can get as its answer."""

# Every code with its HTTP status: 4xx if the caller or the photo's server is at fault, 5xx if the function is.
STATUS = {
    "missing_input": 400,
    "ambiguous_input": 400,
    "invalid_json": 400,
    "invalid_body": 400,
    "invalid_base64": 400,
    "invalid_url": 400,
    "unsupported_scheme": 400,
    "unsupported_event": 400,
    "port_not_allowed": 403,
    "host_not_allowed": 403,
    "address_not_allowed": 403,
    "redirect_downgrade": 403,
    "too_large": 413,
    "unsupported_format": 415,
    "undecodable": 422,
    "too_many_pixels": 422,
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
    """A sentence that tells the caller why there are no scores; `status` is its HTTP status."""


# One class for each code, because Lambda reports the name of an error's class as `errorType`.
ERRORS = {code: type(code, (RequestError,), {"status": status}) for code, status in STATUS.items()}


def request_error(code, message):
    """Return a RequestError whose class is named `code`."""
    return ERRORS[code](message)
