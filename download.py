"""Download a photo from an address that a stranger chose: from public servers only, and within limits."""

import http.client
import io
import os
import re
import socket
import ssl
from contextlib import closing, suppress
from ipaddress import IPv4Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import limits
from limits import RequestError, request_error

HEADERS = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "clothing-classifier",
}
REDIRECTS = (301, 302, 303, 307, 308)
DEFAULT_PORTS = {"https": 443, "http": 80}
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"  # reserved ones, which stay as they are

# https://www.iana.org/assignments/iana-ipv4-special-registry and multicast
SPECIAL_IPV4 = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"""
SPECIAL_IPV4 = [ip_network(network) for network in SPECIAL_IPV4.split()]
# https://www.iana.org/assignments/iana-ipv6-special-registry, where it lies in the one network of public addresses
PUBLIC_IPV6 = ip_network("2000::/3")
SPECIAL_IPV6 = [ip_network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
# IPv6 networks whose addresses embed IPv4 ones, in the lowest 32 bits of what the function returns.
EMBEDDING = {
    ip_network("::/96"): lambda bits: [bits],  # IPv4-compatible
    ip_network("::ffff:0:0/96"): lambda bits: [bits],  # IPv4-mapped
    ip_network("64:ff9b::/96"): lambda bits: [bits],  # NAT64
    ip_network("64:ff9b:1::/96"): lambda bits: [bits],  # NAT64 of a network's own
    ip_network("2002::/16"): lambda bits: [bits >> 80],  # 6to4
    ip_network("2001::/32"): lambda bits: [bits >> 64, ~bits],  # Teredo: server, client
}

# Made at start, where Lambda gives a whole core.
TLS = ssl.create_default_context()
TLS.minimum_version = ssl.TLSVersion.TLSv1_2


class Target(NamedTuple):
    """An address that may be asked, if what its host's name resolves to may be."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


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


def parse_url(url):
    """Return the Target of an address; raise RequestError where it is none, or not allowed."""
    if not isinstance(url, str) or len(url) > limits.MAX_URL_CHARACTERS:
        raise request_error("invalid_url", f"An address has at most {limits.MAX_URL_CHARACTERS:,} characters.")
    if re.search(r"[\x00-\x1f\x7f]", url):
        raise request_error("invalid_url", "The address holds control characters.")
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").encode("idna").decode().lower().rstrip(".")
        port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
        path = quote(parts.path or "/", safe=URL_CHARACTERS)
        query = quote(parts.query, safe=URL_CHARACTERS)
    except ValueError:
        raise request_error("invalid_url", "The address cannot be read as a URL; check its spelling.") from None
    if parts.scheme not in limits.ALLOWED_SCHEMES:
        raise request_error("unsupported_scheme", f"The address must begin with {schemes()}.")
    if "@" in parts.netloc:
        raise request_error("invalid_url", "The address must hold no user name or password.")
    if not re.fullmatch(r"[a-z0-9._:-]+", host):
        raise request_error("invalid_url", "The address names no host.")
    if limits.ALLOWED_HOSTS and not is_listed(host):
        raise request_error("host_not_allowed", f"The host must be one of {', '.join(limits.ALLOWED_HOSTS)}.")
    if port not in limits.ALLOWED_PORTS and not (limits.ALLOW_LOOPBACK and host in LOCAL_HOSTS):
        raise request_error("port_not_allowed", f"The port must be one of {', '.join(map(str, limits.ALLOWED_PORTS))}.")
    return Target(parts.scheme, host, port, f"{path}?{query}" if query else path)


def schemes():
    return " or ".join(f"{scheme}://" for scheme in limits.ALLOWED_SCHEMES)


def is_listed(host):
    """Return whether ALLOWED_HOSTS holds a host, or *. and a domain that it is in."""
    return any(host == entry or (entry[:2] == "*." and host.endswith(entry[1:])) for entry in limits.ALLOWED_HOSTS)


def join_url(target, location):
    """Return the address that a Location header leads to from a target; raise RequestError."""
    try:
        return urljoin(f"{target.scheme}://{target.netloc}{target.path}", location.encode("latin-1").decode())
    except ValueError:
        raise request_error("invalid_url", "The address redirects to what cannot be read as a URL.") from None


def resolve(target):
    """Return the (family, socket address) pairs of a target's host; raise RequestError if one is not public."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise request_error("dns_failed", "The address's host name is unknown; check its spelling.") from error
    if not all(may_connect(address) for *_, address in found):
        raise request_error("address_not_allowed", "The address leads to a server that is not on the public internet.")
    return [(family, address) for family, *_, address in found]


def may_connect(socket_address):
    """Return whether an address and port are public, or local ones while they are allowed."""
    address = ip_address(socket_address[0].split("%")[0])
    if limits.ALLOW_LOOPBACK and address.is_loopback:
        return not os.environ.get("AWS_LAMBDA_RUNTIME_API", "").endswith(f":{socket_address[1]}")
    return is_public(address)


def is_public(address):
    """Return whether an IPv4Address or IPv6Address is one of the public internet.

    An IPv6 address that embeds an IPv4 one is judged by that; Python's own `is_global` lets some of them,
    and multicast, pass, and differs from version to version.
    """
    if address.version == 4:
        return not any(address in network for network in SPECIAL_IPV4)
    bits = int(address)
    for network, embedded in EMBEDDING.items():
        if address in network:
            return all(is_public(IPv4Address(part & 0xFFFFFFFF)) for part in embedded(bits))
    is_isatap = bits >> 32 & 0xFCFFFFFF == 0x5EFE
    if is_isatap and not is_public(IPv4Address(bits & 0xFFFFFFFF)):
        return False
    return address in PUBLIC_IPV6 and not any(address in network for network in SPECIAL_IPV6)


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
