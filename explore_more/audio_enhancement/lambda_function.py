"""AWS Lambda: takes a noisy recording and returns it without the noise."""

import json
import time
from contextlib import contextmanager
from itertools import count

import jobs
import limits
from enhance import enhance
from errors import request_error
from messages import explain, http_error, http_response, parse_body, read_options
from storage import open_recording, return_recording, scratch

calls = count()


@contextmanager
def timed(log, name):
    """Log how many milliseconds the block takes, even if it fails."""
    started = time.perf_counter()
    try:
        yield
    finally:
        log[name] = round(1000 * (time.perf_counter() - started), 1)


def run(request, log, most=None, progress=None, inline=True):
    """Return the answer to {"url": …}, {"audio": base64} or {"bucket": …, "key": …}; raise RequestError."""
    options = read_options(request)
    with timed(log, "read_ms"):
        source = open_recording(request)
    with source, scratch() as target:
        with timed(log, "enhance_ms"):
            made = enhance(source, target, most=most, progress=progress, **options)
        log["seconds"] = made["seconds"]
        with timed(log, "write_ms"):
            return {**made, **return_recording(target, made, inline)}


def run_job(identifier, log):
    """Do a job, and write its result or its error into the job's row."""
    request = jobs.claim(identifier)
    if request is None:
        return {"id": identifier, "state": "claimed before"}  # Lambda may deliver an asynchronous event twice
    try:
        return jobs.finish(identifier, run(request, log, progress=jobs.Progress(identifier), inline=False))
    except Exception as cause:
        error = explain(cause, log)
        return jobs.fail(identifier, type(error).__name__, str(error))


def lambda_handler(event, context):
    """Return the recording for a direct event or a workflow, an HTTP response for a proxy event; or do a job."""
    log = {"request_id": getattr(context, "aws_request_id", None), "cold": next(calls) == 0, "error": None}
    is_proxy = isinstance(event, dict) and ("body" in event or "requestContext" in event)
    try:
        if not isinstance(event, dict) or "Records" in event or "detail-type" in event:
            raise request_error("unsupported_event", 'Send {"url": …}, {"audio": …} or {"bucket": …, "key": …}.')
        if is_proxy:
            return http_response(200, run(parse_body(event), log, most=limits.SYNC_SECONDS))
        return run_job(event["job"], log) if "job" in event else run(event, log)
    except Exception as cause:
        error = explain(cause, log)
        if is_proxy:
            return http_error(error)
        raise error.with_traceback(None) from None
    finally:
        print(json.dumps(log))
