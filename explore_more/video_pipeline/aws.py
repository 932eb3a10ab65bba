"""The clients of AWS, and what the template tells the functions."""

import os
from functools import cache

TRACKS = os.environ.get("TRACKS_BUCKET", "tracks")
RECOGNISED = os.environ.get("RECOGNISED_BUCKET", "recognised")
RESULTS = os.environ.get("RESULTS_BUCKET", "results")
REQUESTS = os.environ.get("REQUESTS_BUCKET", "requests")
MODELS = os.environ.get("MODELS_BUCKET", "models")


@cache
def client(service, **settings):
    """Return a client of AWS. Locally nothing needs one, so that boto3 need not be installed."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(service, config=Config(signature_version="s3v4" if service == "s3" else None, **settings))
