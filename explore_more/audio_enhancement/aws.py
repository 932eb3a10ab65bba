"""Clients of AWS, and the names of what the template made for this function."""

import os
from functools import cache

BUCKET = os.environ.get("BUCKET")  # the only bucket that a request may name
TABLE = os.environ.get("TABLE")  # holds the jobs
SOCKET_URL = os.environ.get("SOCKET_URL")  # where clients connect to the WebSocket
ENHANCE_FUNCTION = os.environ.get("ENHANCE_FUNCTION")


@cache
def client(service):
    """Return a client of an AWS service. Inline requests need none, and save the 0.4 seconds of the import."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(service, config=Config(signature_version="s3v4"))
