"""Downloading from a URL that a stranger chose: only from public servers, and within limits."""

import contextlib
import errno
import ipaddress
import socket
import ssl
import sys
import threading
import time

import pytest
import trustme
from conftest import TROUSERS, code_of
from hypothesis import given
from hypothesis import strategies as st

import addresses
import download
import limits
from addresses import is_public, parse_url
from errors import RequestError
from tests.harness.servers import free_port

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2606:4700:4700::1111 2a00:1450:4001:81b::200e 2001:200::1 2620:4f:8000::1 ::8.8.8.8 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
64:ff9b:1::8.8.8.8 2002:808:808::1 2001:0:808:808::f7f7:f7f7 2606:4700::5efe:8.8.8.8 2606:4700::200:5efe:8.8.8.8
"""
# The addresses at which AWS serves credentials, and Lambda its runtime API.
OF_AWS = "169.254.169.254 169.254.170.2 169.254.100.1 fd00:ec2::254 fd00:ec2::23 127.0.0.1"
NOT_PUBLIC = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.255.255.255 172.16.0.1
172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::169.254.169.254 ::ffff:127.0.0.1 ::ffff:10.0.0.1
::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::127.0.0.1 64:ff9b:1:7f00:0:100::
64:ff9b:1:1::8.8.8.8 100::1 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:c0a8:1:: 2001:0:7f00:1::f7f7:f7f7
2001:0:808:808::80ff:fffe 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 4000::1 5f00::1 fc00::1 fd12:3456::1
fe80::1 fec0::1 ff02::1 ff0e::1 fe80::5efe:8.8.8.8 2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:192.168.0.1
"""
FORBIDDEN = f"{OF_AWS} {NOT_PUBLIC}".split()


@pytest.fixture
def connections(monkeypatch):
    """The addresses to which this process connects sockets, as the interpreter reports them."""
    monkeypatch.setattr(Audit, "connections", [])
    return Audit.connections


class Audit:
    connections = None

    @classmethod
    def hook(cls, event, arguments):
        if event == "socket.connect" and cls.connections is not None:
            cls.connections.append(arguments[1])


sys.addaudithook(Audit.hook)


@pytest.fixture
def resolver(monkeypatch):
    """A fake resolver: names with their addresses, or with a function that returns them; and the names looked up."""
    names = {}
    real = socket.getaddrinfo

    def getaddrinfo(host, port, **options):
        if host not in names:
            return real(host, port, **options)
        lookups.append(host)
        addresses = names[host]() if callable(names[host]) else names[host]
        return [found for address in addresses for found in real(address, port, **options)]

    lookups = []
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names, lookups


@pytest.fixture
def local(monkeypatch):
    """Downloads from loopback are allowed."""
    monkeypatch.setattr(limits, "ALLOW_LOOPBACK", True)


@pytest.fixture
def listen():
    """Return a function that starts a server whose connections another function handles. It returns the port."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            def serve():
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = server.accept()
                        with connection, contextlib.suppress(OSError):
                            answer(connection)

            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=serve, daemon=True).start()
            return server.getsockname()[1]

        yield start


def refused(url):
    """Return the code of the RequestError that a download raises."""
    return code_of(download.download, url)


def send(*parts, pause=0.0):
    """Return a function that reads a request and answers with these parts, with a pause after each."""

    def answer(connection):
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


@pytest.mark.parametrize("address", PUBLIC.split())
def test_an_address_of_the_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", FORBIDDEN)
def test_any_other_address_is_not(address):
    assert not is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv6_form_of_an_ipv4_address_is_judged_by_that(address):
    bits = int(address)
    forms = [f"::{address}", f"::ffff:{address}", f"64:ff9b::{address}", f"64:ff9b:1::{address}"]
    forms += [f"2606:4700::5efe:{address}", str(ipaddress.IPv6Address(0x2002 << 112 | bits << 80))]
    teredo = 0x20010000 << 96 | bits << 64 | bits ^ 0xFFFFFFFF
    assert {is_public(ipaddress.ip_address(form)) for form in forms} == {is_public(address)}
    assert is_public(ipaddress.IPv6Address(teredo)) == is_public(address)


@given(st.ip_addresses())
def test_what_python_knows_to_be_special_is_not_public(address):
    embeds = address.version == 6 and any(address in network for network in addresses.EMBEDDING)
    if not (address.is_global or embeds) or address.is_multicast:
        assert not is_public(address)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_socket_is_opened_to_a_forbidden_address(address, resolver, connections):
    names, _ = resolver
    names["photos.example"] = [address]
    host = f"[{address}]" if ":" in address else address
    assert refused(f"http://{host}/") == "address_not_allowed"
    assert refused("https://photos.example/") == "address_not_allowed"
    assert connections == []


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "localhost", "LOCALHOST.", "①②⑦.0.0.1", "[::]"]
)
def test_no_spelling_of_loopback_gets_through(host, connections):
    assert refused(f"http://{host}/") == "address_not_allowed"
    assert connections == []


def test_one_forbidden_address_among_those_of_a_name_is_enough(resolver, connections):
    names, _ = resolver
    names["photos.example"] = ["8.8.8.8", "2606:4700:4700::1111", "10.0.0.1"]
    assert refused("http://photos.example/") == "address_not_allowed"
    assert connections == []


def test_the_address_that_was_checked_is_connected_to(resolver, local, photo_server, monkeypatch, connections):
    names, lookups = resolver
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    names["photos.example"] = lambda: next(answers)
    port = photo_server.server_port
    monkeypatch.setattr(addresses, "ALLOWED_PORTS", (port,))
    assert download.download(f"http://photos.example:{port}/photo.jpg") == TROUSERS.read_bytes()
    assert lookups == ["photos.example"]
    assert connections == [("127.0.0.1", port)]


def test_the_next_address_is_tried_where_one_does_not_answer(resolver, local, photo_server, monkeypatch):
    names, _ = resolver
    names["photos.example"] = ["127.0.0.2", "127.0.0.1"]
    port = photo_server.server_port
    monkeypatch.setattr(addresses, "ALLOWED_PORTS", (port,))
    assert download.download(f"http://photos.example:{port}/photo.jpg") == TROUSERS.read_bytes()


def test_loopback_is_admitted_for_development_only(photo_server, monkeypatch):
    url = photo_server.url("/photo.jpg")
    assert download.download(url) == TROUSERS.read_bytes()
    monkeypatch.setattr(limits, "ALLOW_LOOPBACK", False)
    assert refused(url) == "port_not_allowed"
    monkeypatch.setattr(addresses, "ALLOWED_PORTS", (photo_server.server_port,))
    assert refused(url) == "address_not_allowed"


def test_the_runtime_api_is_refused_even_then(photo_server, monkeypatch, connections):
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{photo_server.server_port}")
    for host in ("127.0.0.1", "localhost", "[::1]"):
        url = f"http://{host}:{photo_server.server_port}/2018-06-01/runtime/invocation/next"
        assert refused(url) == "address_not_allowed"
    assert connections == []


def test_other_addresses_are_refused_even_then(local):
    assert refused("http://169.254.169.254/") == "address_not_allowed"
    assert refused("http://169.254.169.254:8080/") == "port_not_allowed"


def test_proxies_of_the_environment_are_ignored(photo_server, monkeypatch, connections):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert download.download(photo_server.url("/photo.jpg")) == TROUSERS.read_bytes()
    assert connections == [("127.0.0.1", photo_server.server_port)]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "invalid_url"),
        (["http://example.com"], "invalid_url"),
        ("http://", "invalid_url"),
        ("http:///photo.jpg", "invalid_url"),
        ("http://[::1", "invalid_url"),
        ("http://[::1%25lo]/", "invalid_url"),
        ("http://exa mple.com/", "invalid_url"),
        ("http://a..b/", "invalid_url"),
        ("http://" + "a" * 64 + ".com/", "invalid_url"),
        ("http://" + "a." * 126 + "com/", "invalid_url"),
        ("http://\ud800.com/", "invalid_url"),
        ("http://example.com/\ud800", "invalid_url"),
        ("http://example.com:port/", "invalid_url"),
        ("http://example.com:65536/", "invalid_url"),
        ("http://example.com/\r\nX: y", "invalid_url"),
        ("http://example.com/\x00", "invalid_url"),
        ("http://exam\tple.com/", "invalid_url"),
        ("http://user:password@example.com/", "invalid_url"),
        ("http://example.com@127.0.0.1/", "invalid_url"),
        ("http://example.com\\@127.0.0.1/", "invalid_url"),
        ("http://example.com/" + "a" * 2048, "invalid_url"),
        ("", "unsupported_scheme"),
        ("photo.jpg", "unsupported_scheme"),
        ("//example.com/photo.jpg", "unsupported_scheme"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("ftp://example.com/photo.jpg", "unsupported_scheme"),
        ("data:image/png;base64,AAAA", "unsupported_scheme"),
        ("http://example.com:0/", "port_not_allowed"),
        ("http://example.com:22/", "port_not_allowed"),
        ("https://example.com:8443/", "port_not_allowed"),
        ("http://no-such-host.invalid/", "dns_failed"),
    ],
)
def test_what_is_no_address_to_ask_is_refused(url, code, connections):
    assert refused(url) == code
    assert connections == []


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text):
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        try:
            target = parse_url(url)
        except RequestError:
            continue
        assert target.path.isascii() and target.path[0] == "/"
        assert target.host.isascii()
        assert target.port in (80, 443)


def test_listed_hosts_alone_may_be_asked(monkeypatch):
    monkeypatch.setattr(limits, "ALLOWED_HOSTS", ("photos.example", "*.shop.example"))
    for host in ("photos.example", "Photos.example.", "a.shop.example", "a.b.shop.example"):
        assert parse_url(f"https://{host}/").host
    for host in ("example.com", "shop.example", "notshop.example", "photos.example.com", "a.photos.example"):
        assert refused(f"https://{host}/") == "host_not_allowed"


def test_spaces_and_letters_of_other_scripts_in_an_address_are_encoded(photo_server):
    photo_server.answers["/rote%20h%C3%BCte.jpg?x=%C3%A4%20%25"] = photo_server.answers["/photo.jpg"]
    assert download.download(photo_server.url(" /rote hüte.jpg?x=ä %25#top").replace(" /", "/") + " ")


def test_three_redirects_are_followed_and_a_fourth_is_not(photo_server):
    for number in range(1, 5):
        path = f"/{number - 1}" if number > 1 else "/photo.jpg"
        photo_server.answers[f"/{number}"] = lambda request, path=path: request.answer(302, Location=path)
    assert download.download(photo_server.url("/3")) == TROUSERS.read_bytes()
    assert refused(photo_server.url("/4")) == "too_many_redirects"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_leads_on(status, photo_server):
    location = photo_server.url("/photo.jpg")
    photo_server.answers["/old"] = lambda request: request.answer(status, Location=location)
    assert download.download(photo_server.url("/old")) == TROUSERS.read_bytes()


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("file:///etc/passwd", "unsupported_scheme"),
        ("http://169.254.169.254/latest/meta-data/", "address_not_allowed"),
        ("//10.0.0.1/", "address_not_allowed"),
        ("http://no-such-höst.invalid/".encode().decode("latin-1"), "dns_failed"),
        ("http://example.com:22/", "port_not_allowed"),
        ("http://user:password@example.com/", "invalid_url"),
        ("http://[::1", "invalid_url"),
        ("//[bad", "invalid_url"),
        ("/" + "a" * 2048, "invalid_url"),
    ],
)
def test_a_redirect_is_checked_like_the_address_itself(location, code, photo_server, connections):
    photo_server.answers["/old"] = lambda request: request.answer(302, Location=location)
    assert refused(photo_server.url("/old")) == code
    assert connections == [("127.0.0.1", photo_server.server_port)]


def test_lengths_are_looked_at_before_what_takes_seconds_for_long_addresses(photo_server, monkeypatch):
    with pytest.raises(RequestError, match="253"):
        parse_url("http://" + "e\u0301" * 1000)
    location = "/" + ("\u0301" * 30_000).encode().decode("latin-1")
    photo_server.answers["/old"] = lambda request: request.answer(302, Location=location)
    monkeypatch.setattr(addresses, "urljoin", lambda *_: pytest.fail("urljoin takes over a second"))
    assert refused(photo_server.url("/old")) == "invalid_url"


def test_a_redirect_may_be_relative_and_hold_other_scripts_and_blanks(photo_server):
    photo_server.answers["/r%C3%B6cke/hut%20"] = photo_server.answers["/photo.jpg"]
    photo_server.answers["/r%C3%B6cke/alt"] = lambda request: request.answer(302, Location="hut%20  ")
    photo_server.answers["/old"] = lambda request: request.answer(302, Location="/röcke/alt".encode().decode("latin-1"))
    assert download.download("\u00a0" + photo_server.url("/old")) == TROUSERS.read_bytes()


def test_a_redirect_to_a_host_that_is_not_listed_is_refused(photo_server, monkeypatch):
    monkeypatch.setattr(limits, "ALLOWED_HOSTS", ("127.0.0.1",))
    photo_server.answers["/old"] = lambda request: request.answer(302, Location="http://example.com/")
    assert refused(photo_server.url("/old")) == "host_not_allowed"


@pytest.fixture
def secure(photo_server, resolver, monkeypatch):
    """The port of the photo server with TLS. Its certificate is for photos.example only."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("photos.example").configure_cert(context)
    photo_server.socket = context.wrap_socket(photo_server.socket, server_side=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    monkeypatch.setattr(download, "TLS", trusting)
    monkeypatch.setattr(addresses, "ALLOWED_PORTS", (photo_server.server_port,))
    names, _ = resolver
    names["photos.example"] = names["other.example"] = ["127.0.0.1"]
    return photo_server.server_port


def test_tls_is_for_the_name_though_the_connection_is_to_the_address(secure):
    assert download.download(f"https://photos.example:{secure}/photo.jpg") == TROUSERS.read_bytes()


def test_a_certificate_for_another_name_is_refused(secure):
    assert refused(f"https://other.example:{secure}/photo.jpg") == "tls_failed"


def test_a_certificate_that_nobody_vouches_for_is_refused(secure, monkeypatch):
    monkeypatch.setattr(download, "TLS", ssl.create_default_context())
    assert refused(f"https://photos.example:{secure}/photo.jpg") == "tls_failed"


def test_a_redirect_from_https_to_http_is_refused(secure, photo_server):
    location = f"http://photos.example:{secure}/photo.jpg"
    photo_server.answers["/old"] = lambda request: request.answer(302, Location=location)
    assert refused(f"https://photos.example:{secure}/old") == "redirect_downgrade"


def test_a_server_without_tls_fails_the_handshake(photo_server):
    assert refused(photo_server.url("/photo.jpg").replace("http:", "https:")) == "tls_failed"


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
def test_a_status_other_than_200_is_named(status, photo_server):
    photo_server.answers["/missing"] = lambda request: request.answer(status)
    with pytest.raises(RequestError, match=str(status)) as caught:
        download.download(photo_server.url("/missing"))
    assert type(caught.value).__name__ == "upstream_status"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([HEAD + b"Content-Length: 99\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length: 10000001\r\n\r\nabc"], "too_large"),
        ([HEAD + b"\r\n", b"x" * 10_000_001], "too_large"),
        (
            [HEAD + CHUNKED + CHUNK] * 200,
            "incomplete_body",
        ),
        ([HEAD + CHUNKED, *[CHUNK] * 200], "too_large"),
        ([HEAD + CHUNKED + b"5\r\nabc"], "incomplete_body"),
        ([HEAD + CHUNKED + b"zz\r\nabc"], "incomplete_body"),
        ([HEAD + CHUNKED + b"-1\r\n", *[CHUNK] * 200], "incomplete_body"),
        ([HEAD + CHUNKED + b"ffffffffffffffff\r\nabc"], "incomplete_body"),
        ([HEAD + CHUNKED + b"1" + b"0" * 16 + b"\r\nabc"], "incomplete_body"),
        ([HEAD + CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"], "incomplete_body"),
        ([HEAD + CHUNKED + b"0\r\n\r\n"], "incomplete_body"),
        ([HEAD + CHUNKED + b"3;" + b"x" * 2000 + b"\r\nabc\r\n0\r\n\r\n"], "incomplete_body"),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b"], "unsupported_encoding"),
        ([HEAD + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"], "unsupported_encoding"),
        ([HEAD + CHUNKED + b"-8000000000000001\r\nabc"], "incomplete_body"),
        ([HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], "unsupported_encoding"),
        ([b""], "incomplete_body"),
        ([b"\xff\xd8\xff\xe0 no HTTP at all"], "incomplete_body"),
        ([HEAD], "incomplete_body"),
        ([HEAD + b"X: y\r\n" * 11_000 + b"\r\n"], "incomplete_body"),
        ([HEAD + b"X: a\rContent-Length: 3\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"X: a\0\r\nContent-Length: 3\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length : 3\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length: -3\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length: 3\r\n 4\r\n\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc"], "incomplete_body"),
        ([b"HTTP/1.1 200 OK\r\n Content-Length: 3\r\n\r\nabc"], "incomplete_body"),
        ([b"HTTP/1.1 200 OK\r\nno header\r\n\r\nabc"], "incomplete_body"),
        ([b"HTTP/2 200 OK\r\nContent-Length: 3\r\n\r\nabc"], "incomplete_body"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 3000 + HEAD + b"\r\nabc"], "incomplete_body"),
        ([HEAD + b"Content-Type: x" + b";" * 60_000 + (b"\r\n " + b";" * 60_000) * 90], "incomplete_body"),
        ([HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n"], "incomplete_body"),
        ([b"HTTP/1.1 302 Found\r\n\r\n"], "upstream_status"),
    ],
)
def test_what_a_broken_or_lying_server_sends_is_refused(answer, code, local, listen):
    assert refused(f"http://127.0.0.1:{listen(send(*answer))}/") == code


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/x; boundary*1*=''x; boundary*=''y",
        b'multipart/x;"' + b";" * 30_000 + b"\r\n " + b";" * 30_000,
    ],
)
def test_no_content_type_does_harm(kind, local, listen):
    port = listen(send(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: 3\r\n\r\nabc"))
    assert download.download(f"http://127.0.0.1:{port}/") == b"abc"


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_interim_answers_are_passed_over(status, local, listen):
    interim = b"HTTP/1.1 " + status + b"\r\nLink: </style.css>\r\nContent-Length: 9\r\n\r\n"
    port = listen(send(interim * 3 + HEAD + b"Content-Length: 3\r\n\r\nabc"))
    assert download.download(f"http://127.0.0.1:{port}/") == b"abc"


@pytest.mark.parametrize("body", [b"Content-Length: 6\r\n\r\nabcdef", CHUNKED + b"6;x=y\r\nabcdef\r\n0\r\n\r\n"])
def test_an_answer_may_come_byte_by_byte(body, local, listen):
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + body
    port = listen(send(*[answer[index : index + 1] for index in range(len(answer))], pause=0.001))
    assert download.download(f"http://127.0.0.1:{port}/") == b"abcdef"


def test_blanks_around_headers_do_no_harm(local, listen):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding:  Identity  \r\nContent-Length: 3 \r\n\r\nabc"
    assert download.download(f"http://127.0.0.1:{listen(send(head))}/") == b"abc"


def test_a_family_of_addresses_that_this_machine_lacks_is_a_failed_connection(monkeypatch):
    real = socket.socket

    def lacking(family, *arguments):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *arguments)

    monkeypatch.setattr(socket, "socket", lacking)
    assert refused("http://[2606:4700:4700::1111]/") == "connect_failed"


def test_more_than_was_declared_is_not_read(local, listen):
    port = listen(send(HEAD + b"Content-Length: 3\r\n\r\nabcdef"))
    assert download.download(f"http://127.0.0.1:{port}/") == b"abc"


def test_a_body_in_chunks_is_put_together(local, listen):
    port = listen(send(HEAD + CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"))
    assert download.download(f"http://127.0.0.1:{port}/") == b"abcdef"


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", [b"HTTP/1.1 200 OK\r\n", *[b"X"] * 1000]),
        ("http", [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000),
        ("http", [HEAD + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 1000]),
        ("http", [HEAD + CHUNKED, *[b"1\r\nx\r\n"] * 1000]),
        ("https", [b"\x16\x03\x03\x40\x00", *[b"x"] * 1000]),  # the header of a TLS handshake
    ],
)
def test_a_server_that_drips_is_left_at_the_deadline_and_its_thread_ends(scheme, answer, local, listen, monkeypatch):
    monkeypatch.setattr(limits, "DOWNLOAD_SECONDS", 0.3)
    port = listen(send(*answer, pause=0.02))
    before = set(threading.enumerate())
    assert refused(f"{scheme}://127.0.0.1:{port}/") == "fetch_timeout"
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


# A parser that takes a bare CR for the end of a line would need minutes for this.
SMUGGLED = HEAD + b"".join(b"X: a\rContent-Type: multipart/x;" + b";" * 65_000 + b"\r\n" for _ in range(95)) + b"\r\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((b"", SMUGGLED), "incomplete_body"),
        ((HEAD + b"X: ", b"y" * 10_000), "incomplete_body"),
        ((HEAD, b"X: y\r\n" * 1000), "incomplete_body"),
        ((HEAD + b"X: y\r\n", b" \r\n" * 1000), "incomplete_body"),
        ((b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100), "incomplete_body"),
        ((HEAD + CHUNKED + b"1;", b"x" * 10_000), "incomplete_body"),
        ((HEAD + CHUNKED, b"1\r\nx\r\n" * 1000), "fetch_timeout"),
        ((HEAD + CHUNKED, CHUNK), "too_large"),
        ((HEAD + b"\r\n", b"x" * 10_000), "too_large"),
    ],
)
def test_a_server_that_sends_without_end_is_left_and_its_thread_ends(answer, code, local, listen, monkeypatch):
    start, repeated = answer
    monkeypatch.setattr(limits, "DOWNLOAD_SECONDS", 0.5)
    port = listen(send(start, *[repeated] * 1_000_000))
    before = set(threading.enumerate())
    assert refused(f"http://127.0.0.1:{port}/") in (code, "fetch_timeout")
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_a_server_that_never_answers_is_left_at_the_deadline(local, listen, monkeypatch):
    monkeypatch.setattr(limits, "DOWNLOAD_SECONDS", 0.2)
    for scheme in ("http", "https"):
        assert refused(f"{scheme}://127.0.0.1:{listen(lambda connection: time.sleep(1))}/") == "fetch_timeout"


def test_a_name_that_takes_for_ever_is_left_at_the_deadline(resolver, monkeypatch, connections):
    names, _ = resolver
    names["photos.example"] = lambda: time.sleep(0.5) or ["8.8.8.8"]
    monkeypatch.setattr(limits, "DOWNLOAD_SECONDS", 0.2)
    before = set(threading.enumerate())
    assert refused("http://photos.example/") == "fetch_timeout"
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert connections == []


def test_a_full_backlog_is_left_after_the_time_for_connecting(local, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        assert refused(f"http://127.0.0.1:{server.getsockname()[1]}/") == "fetch_timeout"


def test_a_closed_port_is_a_failed_connection(local):
    assert refused(f"http://127.0.0.1:{free_port()}/") == "connect_failed"
