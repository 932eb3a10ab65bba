"""The web server of `make run`: waitress with tight limits, only for programs and pages on this machine."""

import json
import socket
import time
from http.client import responses

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.utilities import BadRequest

from web.function import MAX_EVENT_BYTES, MAX_WAITING, HttpError

NAMES = ("localhost", "127.0.0.1", "[::1]")
REQUEST_SECONDS = 30  # within which a whole request must arrive
BOUNDS = {
    "threads": MAX_WAITING + 8,  # the page is still served while MAX_WAITING requests wait for the function
    "backlog": 1024,
    "connection_limit": 1000,
    "asyncore_use_poll": True,  # select() handles at most 1,024 connections
    "channel_timeout": 10,  # seconds without a byte
    "cleanup_interval": 1,
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": MAX_EVENT_BYTES + 1,
    "ident": None,
}
CODES = {413: "REQUEST_TOO_LARGE"}  # API Gateway's name


class Parser(HTTPRequestParser):
    """Reads a request. It rejects two kinds on which waitress would close the connection without an answer."""

    def __init__(self, adj):
        super().__init__(adj)
        self.started = time.time()

    def received(self, data):
        try:
            count = super().received(data)
        except ValueError:  # from int() for a Content-Length of 5,000 digits, or from urlsplit() for http://[x
            self.error, self.completed, count = BadRequest("Bad request line or Content-Length"), True, len(data)
        if self.error:
            self.expect_continue = False  # answer with the error and do not ask for the body
        return count


class Refusal(ErrorTask):
    """Answers a request that waitress rejects, in the JSON form of all other errors."""

    def execute(self):
        error = self.request.error
        code = CODES.get(error.code, error.reason.upper().replace(" ", "_"))
        body = describe(code, error.body)
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):
    """A connection that reads on after the last answer until the client closes it.

    If the server closed it with bytes unread, TCP would drop the answer.
    """

    parser_class = Parser
    error_task_class = Refusal
    lingering = False

    def handle_close(self):
        if self.lingering or not self.will_close:  # without will_close, the client has closed the connection
            super().handle_close()
            return
        self.lingering, self.will_close = True, False
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            super().handle_close()

    def handle_read(self):
        if self.lingering:
            self.recv(self.adj.recv_bytes)
        else:
            super().handle_read()


class Server(TcpWSGIServer):
    """Serves a WSGI application on 127.0.0.1:`port` while `run()` runs. Port 0 means any free port."""

    channel_class = Channel

    def __init__(self, port, application):
        super().__init__(application, host="127.0.0.1", port=port, **BOUNDS)

    def maintenance(self, now):
        """Close connections that are idle, or whose request takes too long to arrive."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.request and now - channel.request.started > REQUEST_SECONDS:
                channel.will_close = True


def make_application(answer, cors_origin):
    """Return a WSGI application around `answer`, a function from the environment to (status, headers, body).

    Of web pages, only the server's own and those of `cors_origin` may use it.
    """

    def application(environ, start_response):
        try:
            check_sender(environ, cors_origin)
            status, headers, body = answer(environ)
        except HttpError as error:
            status, body = error.status, describe(error.code, str(error))
            headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": cors_origin, **error.headers}
        headers = {**headers, "Content-Length": str(len(body))}
        start_response(f"{status} {responses.get(status, 'Unknown')}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


def check_sender(environ, cors_origin):
    """Raise HttpError if a request comes from another site's page, or under a host name that is not this machine's.

    Without the check of the name, a site could point its own name at 127.0.0.1 and pass as this server's page.
    """
    host, origin, port = environ.get("HTTP_HOST", "").lower(), environ.get("HTTP_ORIGIN"), environ["SERVER_PORT"]
    hosts = [f"{name}:{port}" for name in NAMES] + (list(NAMES) if port == "80" else [])
    if host not in hosts:
        raise HttpError(403, "ACCESS_DENIED", f"This server answers only at http://localhost:{port}.")
    if origin not in (None, f"http://{host}", cors_origin) and cors_origin != "*":
        advice = f"start it with CORS_ORIGIN={origin} to allow them."
        raise HttpError(403, "ACCESS_DENIED", f"Pages of {origin} may not use this server; {advice}")


def describe(code, message):
    """Return the JSON body of an error."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()
