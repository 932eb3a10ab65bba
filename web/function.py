"""Send requests to the function one at a time, because AWS's emulator stops when two arrive at once."""

import http.client
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import BoundedSemaphore
from urllib.parse import urlsplit

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_EVENT_BYTES = 6 * 1024 * 1024
MAX_SECONDS = 15 * 60
MAX_WAITING = 64  # requests, including the one that the function is answering
TURN_SECONDS = 29  # the longest that a request waits for its turn


class HttpError(Exception):
    """An error to answer a request with: an HTTP status, a code, a message and extra headers."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers)


class Function:
    """The function in the emulator at `url`. Any number of threads may call it."""

    def __init__(self, url):
        self.url = urlsplit(url)
        self.places = BoundedSemaphore(MAX_WAITING)
        self.line = ThreadPoolExecutor(max_workers=1)

    def ask(self, event, headers=(), seconds=MAX_SECONDS):
        """Return the emulator's (status, headers, body) for an event, given as bytes; raise HttpError.

        When this call times out, the emulator still works on the event. The next request waits until it has finished.
        """
        if not self.places.acquire(blocking=False):
            raise busy()
        answer = self.line.submit(self.send, event, dict(headers))
        answer.add_done_callback(lambda _: self.places.release())
        try:
            return self.wait(answer, seconds)
        except FutureTimeoutError:
            raise HttpError(504, "INTEGRATION_TIMEOUT", "Endpoint request timed out") from None
        except (OSError, http.client.HTTPException) as error:
            print(f"serve.py: the emulator did not answer ({error!r})", file=sys.stderr)
            raise HttpError(502, "DEFAULT_5XX", "Internal server error") from None

    def wait(self, answer, seconds):
        """Return the result of a future; raise HttpError if the request's turn does not come in time."""
        try:
            return answer.result(min(TURN_SECONDS, seconds))
        except FutureTimeoutError:
            if answer.cancel():
                raise busy() from None
            return answer.result(max(0, seconds - TURN_SECONDS))

    def send(self, event, headers):
        connection = http.client.HTTPConnection(self.url.netloc)
        try:
            connection.request("POST", self.url.path, event, headers)
            response = connection.getresponse()
            kind = response.headers.get("Content-Type", "text/plain")
            return response.status, {"Content-Type": kind}, response.read()
        finally:
            connection.close()

    def invoke(self, environ):
        """Answer a request to Lambda's Invoke API, which `aws lambda invoke` calls."""
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", self.url.path):
            raise HttpError(404, "NOT_FOUND", f"The only endpoint here is POST {self.url.path}.")
        context = environ.get("HTTP_X_AMZ_CLIENT_CONTEXT")
        return self.ask(environ["wsgi.input"].read(), {"X-Amz-Client-Context": context} if context else {})


def busy():
    """Return the error for a request that finds the queue full or has waited too long."""
    return HttpError(503, "SERVICE_UNAVAILABLE", "Too many requests are waiting; try again.", {"Retry-After": "5"})
