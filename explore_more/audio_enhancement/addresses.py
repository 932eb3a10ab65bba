"""Which addresses may be asked: those of servers on the public internet, as far as the limits allow."""

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
MAX_HOST_CHARACTERS = 253  # https://www.rfc-editor.org/rfc/rfc1035, 2.3.4
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


def parse_url(url):
    """Return the Target of an address; raise RequestError where it is none, or not allowed."""
    check_length(url)
    if re.search(r"[\x00-\x1f\x7f]", url):
        raise request_error("invalid_url", "The address holds control characters.")
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
        if len(host) > MAX_HOST_CHARACTERS:  # long ones take seconds to encode
            raise request_error("invalid_url", f"A host's name has at most {MAX_HOST_CHARACTERS} characters.")
        host = host.encode("idna").decode().lower().rstrip(".")
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


def check_length(url):
    """Raise RequestError unless an address is text of MAX_URL_CHARACTERS at most."""
    if not isinstance(url, str) or len(url) > limits.MAX_URL_CHARACTERS:
        raise request_error("invalid_url", f"An address has at most {limits.MAX_URL_CHARACTERS:,} characters.")


def schemes():
    return " or ".join(f"{scheme}://" for scheme in limits.ALLOWED_SCHEMES)


def is_listed(host):
    """Return whether ALLOWED_HOSTS holds a host, or *. and a domain that it is in."""
    return any(host == entry or (entry[:2] == "*." and host.endswith(entry[1:])) for entry in limits.ALLOWED_HOSTS)


def join_url(target, location):
    """Return the address that a Location header leads to from a target; raise RequestError."""
    try:
        location = location.encode("latin-1").decode()
        check_length(location)  # long ones take seconds to join
        return urljoin(f"{target.scheme}://{target.netloc}{target.path}", location)
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
