"""The web server of `make run`: waitress with tight bounds, for this machine's own programs and pages alone."""

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
REQUEST_SECONDS = 30  # for a whole request to arrive
BOUNDS = {
    "threads": MAX_WAITING + 8,  # so that the page is served while requests wait for the function
    "backlog": 1024,
    "connection_limit": 1000,
    "asyncore_use_poll": True,  # select() takes 1,024 connections at most
    "channel_timeout": 10,  # seconds without a byte
    "cleanup_interval": 1,
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": MAX_EVENT_BYTES + 1,
    "ident": None,
}
CODES = {413: "REQUEST_TOO_LARGE"}  # as API Gateway names it


class Parser(HTTPRequestParser):
    """Reads a request; refuses the two kinds on which waitress closes the connection without an answer."""

    def __init__(self, adj):
        super().__init__(adj)
        self.started = time.time()

    def received(self, data):
        try:
            count = super().received(data)
        except ValueError:  # of int() for a Content-Length of 5,000 digits, or of urlsplit() for http://[x
            self.error, self.completed, count = BadRequest("Bad request line or Content-Length"), True, len(data)
        if self.error:
            self.expect_continue = False  # the answer is the error
        return count


class Refusal(ErrorTask):
    """Answers what is no request that the application could see, in the form of every other error."""

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
    """A connection; it is closed when the client has read the last answer, which TCP drops if bytes are left unread."""

    parser_class = Parser
    error_task_class = Refusal
    lingering = False

    def handle_close(self):
        if self.lingering or not self.will_close:  # or the client has closed it
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
    """Serves a WSGI application on 127.0.0.1:`port` while `run()` runs; 0 takes a free port."""

    channel_class = Channel

    def __init__(self, port, application):
        super().__init__(application, host="127.0.0.1", port=port, **BOUNDS)

    def maintenance(self, now):
        """Close connections that send nothing, and those whose request takes too long to arrive."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.request and now - channel.request.started > REQUEST_SECONDS:
                channel.will_close = True


def make_application(answer, cors_origin):
    """Return the WSGI application of a function from the environment to (status, headers, body).

    Only pages of the server's own and of `cors_origin` get to it.
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
    """Raise HttpError for a name that a foreign DNS server made lead here, and for another site's page."""
    host, origin, port = environ.get("HTTP_HOST", "").lower(), environ.get("HTTP_ORIGIN"), environ["SERVER_PORT"]
    hosts = [f"{name}:{port}" for name in NAMES] + (list(NAMES) if port == "80" else [])
    if host not in hosts:
        raise HttpError(403, "ACCESS_DENIED", f"This server's address is http://localhost:{port}, and no other.")
    if origin not in (None, f"http://{host}", cors_origin) and cors_origin != "*":
        advice = f"start it with CORS_ORIGIN={origin} to let them."
        raise HttpError(403, "ACCESS_DENIED", f"Pages of {origin} may not ask this server; {advice}")


def describe(code, message):
    """Return the body of an error."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()
