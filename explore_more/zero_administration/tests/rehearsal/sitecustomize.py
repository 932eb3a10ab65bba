"""What the Python of a rehearsal starts with: names below localhost, such as an API's, are this machine's."""

import socket

original = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    return original("127.0.0.1" if str(host).endswith(".localhost") else host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
