"""Download a photo from an address that a stranger chose: from public servers only, and within limits."""

import http.client
import io
import socket
import ssl
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import limits
from addresses import join_url, parse_url, resolve
from errors import RequestError, request_error

HEADERS = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "clothing-classifier",
}
REDIRECTS = (301, 302, 303, 307, 308)
# Made at start, where Lambda gives a whole core.
TLS = ssl.create_default_context()
TLS.minimum_version = ssl.TLSVersion.TLSv1_2


class Lines(io.BufferedReader):
    """What a server sends, without its content type, which http.client's parser takes hours to read for some."""

    def readline(self, size=-1):
        while True:
            line = super().readline(size)
            if not line.lower().startswith((b"content-type", b" ", b"\t")):
                return line


class Response(http.client.HTTPResponse):
    def __init__(self, sock, *arguments, **options):
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = Lines(sock.makefile("rb", buffering=0))


def download(url):
    """Return the bytes at an http(s) address, within the limits; raise RequestError.

    A thread does it, for looking up a name takes no time limit, and a server may drip its headers.
    """
    fetch, results = Fetch(), SimpleQueue()
    Thread(target=fetch.run, args=(url, results), daemon=True).start()
    try:
        result = results.get(timeout=limits.DOWNLOAD_SECONDS)
    except Empty:
        fetch.abandon()
        raise too_slow(limits.DOWNLOAD_SECONDS) from None
    if isinstance(result, bytes):
        return result
    try:
        raise result
    finally:
        del result  # which its own traceback would keep


class Fetch:
    """One download: a connection to the address, and to each that it redirects to."""

    def __init__(self):
        self.deadline = monotonic() + limits.DOWNLOAD_SECONDS
        self.socket = None

    def run(self, url, results):
        """Put the bytes at the address, or an exception, into the queue `results`."""
        try:
            results.put(self.follow(url))
        except Exception as error:
            results.put(error)
        finally:
            self.close()

    def close(self):
        if self.socket:
            self.socket.close()

    def abandon(self):
        """Wake the thread from whatever it waits for; it then finds no time left."""
        if self.socket:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def remaining(self):
        """Return the seconds that are left; raise RequestError without any."""
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise too_slow(limits.DOWNLOAD_SECONDS)
        return seconds

    def follow(self, url):
        """Return the bytes at an address, or at where it redirects to."""
        target = parse_url(url)
        for _ in range(limits.MAX_REDIRECTS + 1):
            self.connect(target)
            try:
                body, location = ask(self.socket, target)
            except RequestError:
                raise
            except socket.timeout:
                raise too_slow(limits.DOWNLOAD_SECONDS) from None
            except Exception as error:  # http.client raises whatever it meets with in a broken answer
                raise broken_off() from error
            if not location:
                return body
            former, target = target, parse_url(join_url(target, location))
            if (former.scheme, target.scheme) == ("https", "http"):
                raise request_error("redirect_downgrade", "The address redirects from https to http; that is not safe.")
        raise request_error("too_many_redirects", f"The address redirects over {limits.MAX_REDIRECTS} times.")

    def connect(self, target):
        """Set `socket`, connected to the first of the target's addresses that answers, with TLS for https."""
        failure = None
        for family, address in resolve(target):
            self.close()
            try:
                self.socket = socket.socket(family, socket.SOCK_STREAM)
                self.socket.settimeout(min(limits.CONNECT_SECONDS, self.remaining()))
                self.socket.connect(address)
                break
            except OSError as error:
                failure = error
        else:
            if isinstance(failure, socket.timeout):
                raise too_slow(limits.CONNECT_SECONDS)
            raise request_error("connect_failed", "The address's server cannot be reached; check its host and port.")
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


def ask(sock, target):
    """Return the body that a server sends, and None; or None, and the Location that it redirects to."""
    connection = http.client.HTTPConnection(target.netloc)
    connection.sock, connection.response_class = sock, Response
    connection.request("GET", target.path, headers={"Host": target.netloc, **HEADERS})
    with closing(connection.getresponse()) as response:
        location = (response.getheader("Location") or "").strip() if response.status in REDIRECTS else ""
        return (None, location) if location else (read_body(response), None)


def too_slow(seconds):
    return request_error("fetch_timeout", f"The address's server took over {seconds:g} seconds.")


def broken_off():
    return request_error("incomplete_body", "The address's server broke off its answer, or sent none.")


def read_body(response):
    """Return a response's body; raise RequestError where it is no photo of MAX_DOWNLOAD_BYTES at most."""
    if response.status != 200:
        raise request_error("upstream_status", f"The address answered HTTP {response.status}.")
    encoding = response.getheader("Content-Encoding") or "identity"
    if encoding.strip().lower() != "identity" or (response.getheader("Transfer-Encoding") and not response.chunked):
        raise request_error(
            "unsupported_encoding", 'The address\'s server compressed its answer; send the photo as "image".'
        )
    declared, most = response.length or 0, limits.MAX_DOWNLOAD_BYTES
    body = bytearray()
    # Piece by piece: http.client would read a chunk that claims to be -1 bytes long without an end.
    while declared <= most and len(body) < (declared or most + 1) and (piece := response.read1(65536)):
        body += piece
    if (declared or len(body)) > most:
        raise request_error("too_large", f"The photo is larger than {most:,} bytes; send a smaller one.")
    if not body or len(body) < declared:
        raise broken_off()
    return bytes(memoryview(body)[: declared or None])
