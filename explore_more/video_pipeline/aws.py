"""The clients of AWS, and what the template tells the functions."""

import os
from functools import cache

TRACKS = os.environ.get("TRACKS_BUCKET", "tracks")
RECOGNISED = os.environ.get("RECOGNISED_BUCKET", "recognised")
RESULTS = os.environ.get("RESULTS_BUCKET", "results")
REQUESTS = os.environ.get("REQUESTS_BUCKET", "requests")
MODELS = os.environ.get("MODELS_BUCKET", "models")


@cache
def client(service, seconds=60):
    """Return a client of AWS that waits so long for an answer. Locally nothing needs one, nor boto3."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(connect_timeout=5, read_timeout=seconds, retries={"total_max_attempts": 3})
    if service == "s3":  # links to the bucket's own region; others are redirected, which an upload does not survive
        config = config.merge(Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
    return boto3.client(service, config=config)
