"""Decide which URLs may be fetched: those of servers on the public internet that the limits allow."""

import os
import re
import socket
from ipaddress import IPv4Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import limits
from errors import request_error

DEFAULT_PORTS = {"https": 443, "http": 80}
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
ALLOWED_PORTS = (443, 80)
MAX_URL_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253  # https://www.rfc-editor.org/rfc/rfc1035, 2.3.4
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"  # reserved characters, which are not encoded

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast
SPECIAL_IPV4 = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"""
SPECIAL_IPV4 = [ip_network(network) for network in SPECIAL_IPV4.split()]
# Only 2000::/3 is public, without its entries in https://www.iana.org/assignments/iana-ipv6-special-registry
PUBLIC_IPV6 = ip_network("2000::/3")
SPECIAL_IPV6 = [ip_network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
# IPv6 networks whose addresses embed IPv4 addresses. Each function returns numbers with those in their lowest 32 bits.
EMBEDDING = {
    ip_network("::/96"): lambda bits: [bits],  # IPv4-compatible
    ip_network("::ffff:0:0/96"): lambda bits: [bits],  # IPv4-mapped
    ip_network("64:ff9b::/96"): lambda bits: [bits],  # NAT64
    ip_network("64:ff9b:1::/96"): lambda bits: [bits],  # NAT64 with a local prefix
    ip_network("2002::/16"): lambda bits: [bits >> 80],  # 6to4
    ip_network("2001::/32"): lambda bits: [bits >> 64, ~bits],  # Teredo: the server's and the client's address
}


class Target(NamedTuple):
    """A URL that may be fetched if its host's IP addresses may be connected to."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url):
    """Return the Target of a URL; raise RequestError if the URL is invalid or not allowed."""
    check_length(url)
    if re.search(r"[\x00-\x1f\x7f]", url):
        raise request_error("invalid_url", "The address contains control characters.")
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
        if len(host) > MAX_HOST_CHARACTERS:  # long names take seconds to encode
            raise request_error("invalid_url", f"A host name may have at most {MAX_HOST_CHARACTERS} characters.")
        host = host.encode("idna").decode().lower().rstrip(".")
        port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
        path = quote(parts.path or "/", safe=URL_CHARACTERS)
        query = quote(parts.query, safe=URL_CHARACTERS)
    except ValueError:
        raise request_error("invalid_url", "The address cannot be read as a URL; check its spelling.") from None
    if parts.scheme not in limits.ALLOWED_SCHEMES:
        raise request_error("unsupported_scheme", f"The address must begin with {schemes()}.")
    if "@" in parts.netloc:
        raise request_error("invalid_url", "The address must not contain a user name or password.")
    if not re.fullmatch(r"[a-z0-9._:-]+", host):
        raise request_error("invalid_url", "The address has no valid host name.")
    if limits.ALLOWED_HOSTS and not is_listed(host):
        raise request_error("host_not_allowed", f"The host must be one of {', '.join(limits.ALLOWED_HOSTS)}.")
    if port not in ALLOWED_PORTS and not (limits.ALLOW_LOOPBACK and host in LOCAL_HOSTS):
        raise request_error("port_not_allowed", f"The port must be {' or '.join(map(str, ALLOWED_PORTS))}.")
    return Target(parts.scheme, host, port, f"{path}?{query}" if query else path)


def check_length(url):
    """Raise RequestError unless a URL is a string of at most MAX_URL_CHARACTERS."""
    if not isinstance(url, str) or len(url) > MAX_URL_CHARACTERS:
        message = f"The address must be a string of at most {MAX_URL_CHARACTERS:,} characters."
        raise request_error("invalid_url", message)


def schemes():
    return " or ".join(f"{scheme}://" for scheme in limits.ALLOWED_SCHEMES)


def is_listed(host):
    """Return whether ALLOWED_HOSTS contains a host, or a pattern such as *.example.com that matches it."""
    return any(host == entry or (entry[:2] == "*." and host.endswith(entry[1:])) for entry in limits.ALLOWED_HOSTS)


def join_url(target, location):
    """Return the URL that a target redirects to by its Location header; raise RequestError."""
    try:
        location = location.encode("latin-1").decode()
        check_length(location)  # long URLs take seconds to join
        return urljoin(f"{target.scheme}://{target.netloc}{target.path}", location)
    except ValueError:
        raise request_error("invalid_url", "The address redirects to an invalid URL.") from None


def resolve(target):
    """Return the (family, socket address) pairs of a target's host; raise RequestError unless all are public."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise request_error("dns_failed", "The address's host name is unknown; check its spelling.") from error
    if not all(may_connect(address) for *_, address in found):
        raise request_error("address_not_allowed", "The address leads to a server that is not on the public internet.")
    return [(family, address) for family, *_, address in found]


def may_connect(socket_address):
    """Return whether a socket address is public, or is on loopback while that is allowed.

    Lambda's runtime API is on loopback too. It is never allowed.
    """
    address = ip_address(socket_address[0].split("%")[0])
    if limits.ALLOW_LOOPBACK and address.is_loopback:
        return not os.environ.get("AWS_LAMBDA_RUNTIME_API", "").endswith(f":{socket_address[1]}")
    return is_public(address)


def is_public(address):
    """Return whether an IPv4Address or IPv6Address belongs to the public internet.

    An IPv6 address that embeds an IPv4 address is public only if that one is. Python's own `is_global` is not used:
    it calls multicast and some of these addresses public, and its answers differ between versions of Python.
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
