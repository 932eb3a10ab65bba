"""What the functions behind S3 share: their events, a log line for each, and what the user is told of a failure.

There are two kinds of failure. What is wrong with a video is written down at once, as trying again would not help.
Anything else is raised: Lambda tries again, and in the end hands the event to the topic of failures.
"""

import json
import time
from itertools import count
from urllib.parse import unquote_plus

import storage
from aws import RESULTS
from errors import RequestError
from jobs import make_key, parse_key

STAGES = ("upload", "track", "recognise", "describe")  # that a video passes

calls = count()


def read_event(event):
    """Return the bucket and key of each object that an event of S3, or of S3 through EventBridge, tells of."""
    if "detail" in event:
        return [(event["detail"]["bucket"]["name"], event["detail"]["object"]["key"])]
    # S3 encodes keys as forms do; EventBridge does not.
    return [(each["s3"]["bucket"]["name"], unquote_plus(each["s3"]["object"]["key"])) for each in event["Records"]]


def make_handler(name, run):
    """Return a Lambda handler that calls `run(bucket, key, log)` for each object of an event."""

    def lambda_handler(event, context):
        for bucket, key in read_event(event):
            log = {"stage": name, "key": key, "cold": next(calls) == 0, "outcome": "failed", "error": None}
            log["request_id"] = getattr(context, "aws_request_id", None)
            started = time.perf_counter()
            try:
                log["outcome"] = run_once(name, run, bucket, key, log)
            finally:
                log["ms"] = round(1000 * (time.perf_counter() - started))
                print(json.dumps(log))

    return lambda_handler


def run_once(name, run, bucket, key, log):
    """Return what became of an object: what `run` says, or "refused" when something is wrong with the video."""
    try:
        return run(bucket, key, log)
    except RequestError as error:
        log["error"] = {"code": type(error).__name__, "message": str(error)}
        if name not in STAGES:
            raise
        record_failure(name, parse_key(key), **log["error"])
        return "refused"
    except Exception as error:
        log["error"] = {"code": "internal", "message": f"{type(error).__name__}: {error}"}
        raise


def record_failure(name, identifier, code, message):
    """Write down why a stage failed, for GET /videos/{id}."""
    storage.write_json(RESULTS, failure_key(name, identifier), {"code": code, "message": message})


def failure_key(name, identifier):
    return make_key(f"failed-{name}", identifier, ".json")
