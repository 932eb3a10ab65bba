"""AWS Lambda, S3 tracker/<name>.truth.json: tune the tracker on all labelled videos, now that there is another one."""

import json

import storage
import tracking
from errors import request_error
from stages import make_handler
from training_jobs import start


def run(bucket, key, log):
    """Start a training job for a labelled video: <name>.mp4, which is there first, and <name>.truth.json."""
    _, etag = storage.store.find(bucket, key)
    if etag is None:
        return "the labels are gone"
    if storage.store.find(bucket, key.replace(".truth.json", ".mp4"))[1] is None:
        raise request_error("missing_input", "The video that the labels belong to is not there; upload it first.")
    log["job"], is_new = start("tracker", (bucket, key, etag), "tracker/", "parameters.json", built_in)
    return "started" if is_new else "started before"


def built_in():
    return json.dumps(tracking.Parameters().to_json()).encode()


lambda_handler = make_handler("train-tracker", run)
