"""Download a recording from a URL that a stranger chose, within limits.

This module parses HTTP itself, because `http.client` parses headers as email, which takes hours for some of them.
"""

import io
import re
import socket
import ssl
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import limits
from addresses import join_url, parse_url, resolve
from errors import request_error

HEADERS = {
    "Accept": "audio/*, video/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "audio-enhancement",
}
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
CONNECT_SECONDS = 3.0  # for each address of a host
MAX_HEAD_BYTES = 65_536  # of the headers of one response, including the interim responses before it
MAX_CHUNK_LINE_BYTES = 1024
PIECE_BYTES = 65_536
# Created at start-up, when Lambda gives the function a whole core.
TLS = ssl.create_default_context()
TLS.minimum_version = ssl.TLSVersion.TLSv1_2


def download(url):
    """Return the bytes at an http(s) URL, within the limits; raise RequestError.

    A thread downloads them, because looking up a name accepts no time limit. Everything else ends at the deadline.
    """
    fetch, results = Fetch(), SimpleQueue()
    Thread(target=fetch.run, args=(url, results), daemon=True).start()
    try:
        result = results.get(timeout=limits.DOWNLOAD_SECONDS)
    except Empty:
        raise too_slow(limits.DOWNLOAD_SECONDS) from None
    if isinstance(result, bytes):
        return result
    try:
        raise result
    finally:
        del result  # otherwise the exception's traceback would keep the exception alive


class Fetch(io.RawIOBase):
    """One download, over any redirects. It is also a file that reads from the connection of the moment."""

    def __init__(self):
        self.deadline = monotonic() + limits.DOWNLOAD_SECONDS
        self.socket = None

    def run(self, url, results):
        """Put the bytes at the URL, or an exception, into the queue `results`."""
        try:
            results.put(self.follow(url))
        except Exception as error:
            results.put(error)
        finally:
            self.close()

    def close(self):
        if self.socket:
            self.socket.close()

    def readable(self):
        return True

    def readinto(self, buffer):
        """Fill a buffer from the connection; raise RequestError after the deadline."""
        self.socket.settimeout(self.remaining())
        return self.socket.recv_into(buffer)

    def remaining(self):
        """Return how many seconds are left; raise RequestError if none are."""
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise too_slow(limits.DOWNLOAD_SECONDS)
        return seconds

    def follow(self, url):
        """Return the bytes at a URL, or at the URL that it redirects to."""
        target = parse_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            self.connect(target)
            try:
                self.socket.sendall(get_request(target))
                body, location = read_answer(io.BufferedReader(self))
            except socket.timeout:
                raise too_slow(limits.DOWNLOAD_SECONDS) from None
            except OSError as error:
                raise incomplete() from error
            if not location:
                return body
            former, target = target, parse_url(join_url(target, location))
            if (former.scheme, target.scheme) == ("https", "http"):
                raise request_error("redirect_downgrade", "The address redirects from https to http; that is not safe.")
        raise request_error("too_many_redirects", f"The address redirects more than {MAX_REDIRECTS} times.")

    def connect(self, target):
        """Connect `socket` to the first of the target's addresses that answers, with TLS for https."""
        failure = None
        for family, address in resolve(target):
            self.close()
            try:
                self.socket = socket.socket(family, socket.SOCK_STREAM)
                self.socket.settimeout(min(CONNECT_SECONDS, self.remaining()))
                self.socket.connect(address)
                break
            except OSError as error:
                failure = error
        else:
            if isinstance(failure, socket.timeout):
                raise too_slow(CONNECT_SECONDS)
            message = "The address's server cannot be reached; check its host and port."
            raise request_error("connect_failed", message) from failure
        self.socket.settimeout(self.remaining())
        if target.scheme == "https":
            self.start_tls(target.host)

    def start_tls(self, host):
        try:
            self.socket = TLS.wrap_socket(self.socket, server_hostname=host, do_handshake_on_connect=False)
            self.socket.do_handshake()
        except socket.timeout:
            raise too_slow(limits.DOWNLOAD_SECONDS) from None
        except (OSError, ValueError) as error:
            message = "The address's server has no TLS, or no valid certificate for its name."
            raise request_error("tls_failed", message) from error


def too_slow(seconds):
    return request_error("fetch_timeout", f"The address's server took over {seconds:g} seconds.")


def incomplete():
    return request_error("incomplete_body", "The address's server did not send a complete, valid answer.")


def get_request(target):
    """Return the HTTP request for a target, as bytes."""
    headers = {"Host": target.netloc, **HEADERS}
    lines = [f"GET {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def read_answer(file):
    """Return (body, None) of an HTTP response, or (None, location) of a redirect."""
    status, headers = read_head(file)
    if status in REDIRECTS and headers.get("location"):
        return None, headers["location"]
    if status != 200:
        raise request_error("upstream_status", f"The address answered HTTP {status}.")
    return read_body(file, headers), None


def read_head(file):
    """Return the status of a response and its headers, {name in lower case: value}; skip interim responses.

    The values of a header that is repeated or folded are joined by commas. https://www.rfc-editor.org/rfc/rfc9112
    """
    lines, status = head_lines(file), 100
    while status < 200:
        match = re.fullmatch(r"HTTP/1\.[01] ([1-5][0-9]{2})( .*)?", next(lines))
        if not match:
            raise incomplete()
        status, headers, values = int(match[1]), {}, None
        for line in iter(lines.__next__, ""):
            name, _, value = line.partition(":")
            if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                values = headers.setdefault(name.lower(), [])
            elif values and line.startswith((" ", "\t")):
                value = line
            else:
                raise incomplete()
            values.append(value.strip(" \t"))
    return status, {name: ", ".join(values) for name, values in headers.items()}


def head_lines(file):
    """Yield the lines of a response's head without their line ends; raise RequestError after MAX_HEAD_BYTES."""
    left = MAX_HEAD_BYTES
    while True:
        line = file.readline(left)
        left -= len(line)
        match = re.fullmatch(rb"([^\0\r\n]*)\r?\n", line)
        if not match:
            raise incomplete()
        yield match[1].decode("latin-1")


def read_body(file, headers):
    """Return the body of a response; raise RequestError if it is incomplete, encoded or over MAX_DOWNLOAD_BYTES."""
    transfer, content = headers.get("transfer-encoding", ""), headers.get("content-encoding", "")
    if transfer.lower() not in ("", "chunked") or content.lower() not in ("", "identity"):
        raise request_error(
            "unsupported_encoding", 'The address\'s server compressed its answer; send the recording as "audio".'
        )
    if transfer:
        pieces = read_chunks(file)
    elif "content-length" in headers:
        pieces = read_exactly(file, parse_length(headers["content-length"]))
    else:
        pieces = iter(partial(file.read1, PIECE_BYTES), b"")
    body = bytearray()
    for piece in pieces:
        body += piece
        check_size(len(body))
    if not body:
        raise incomplete()
    return bytes(body)


def parse_length(text):
    """Return the number in a Content-Length header; raise RequestError if it is invalid or too large."""
    if not re.fullmatch("[0-9]{1,20}", text):
        raise incomplete()
    check_size(int(text))
    return int(text)


def check_size(size):
    if size > limits.MAX_DOWNLOAD_BYTES:
        message = f"The recording is larger than {limits.MAX_DOWNLOAD_BYTES:,} bytes; send a smaller one."
        raise request_error("too_large", message)


def read_exactly(file, length):
    """Yield `length` bytes of a file in pieces; raise RequestError if the file ends before that."""
    while length:
        piece = file.read1(min(length, PIECE_BYTES))
        if not piece:
            raise incomplete()
        length -= len(piece)
        yield piece


def read_chunks(file):
    """Yield the pieces of a chunked body; raise RequestError if it is invalid or cut off."""
    while True:
        line = file.readline(MAX_CHUNK_LINE_BYTES)
        match = re.fullmatch(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\0\r\n]*)?\r?\n", line)
        if not match:
            raise incomplete()
        length = int(match[1], 16)
        if not length:
            return
        yield from read_exactly(file, length)
        if file.readline(2) not in (b"\r\n", b"\n"):
            raise incomplete()
