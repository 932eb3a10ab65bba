"""The clients of AWS, and what the template made for this function."""

import os
from functools import cache

BUCKET = os.environ.get("BUCKET")  # the only one that a request may name
TABLE = os.environ.get("TABLE")  # of jobs
SOCKET_URL = os.environ.get("SOCKET_URL")  # where clients connect
ENHANCE_FUNCTION = os.environ.get("ENHANCE_FUNCTION")


@cache
def client(service):
    """Return a client of AWS; inline requests never need one, and save the 0.4 seconds that its import takes."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(service, config=Config(signature_version="s3v4"))
