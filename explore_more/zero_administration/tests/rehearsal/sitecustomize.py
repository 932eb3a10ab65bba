"""Python imports this at its start in a rehearsal: names below localhost, such as an API's, resolve to this machine."""

import socket

original = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    return original("127.0.0.1" if str(host).endswith(".localhost") else host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
