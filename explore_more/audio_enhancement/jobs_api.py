"""AWS Lambda: the API of the jobs.

HTTP       POST /jobs {"url": …} or {"upload": bytes}, with options; POST /jobs/{id} once uploaded; GET /jobs/{id}
WebSocket  wss://…?job={id}: a message whenever the job's state or progress changes
Lambda     the enhancing function's on-failure destination: a record of a call that failed or was killed
"""

import json

import jobs
import limits
from aws import BUCKET, ENHANCE_FUNCTION, SOCKET_URL, client
from errors import request_error
from messages import explain, http_error, http_response, parse_body, read_options

UPLOAD_SECONDS = 3600  # how long an upload link is valid
OPTIONS = ("format", "sample_rate", "attenuation_limit")


def lambda_handler(event, context):
    """Answer an HTTP request, accept a WebSocket, or record a failed call."""
    log = {"request_id": getattr(context, "aws_request_id", None), "error": None}
    try:
        if "requestPayload" in event:
            return record_failure(event)
        if event["requestContext"].get("eventType"):
            return connect(event)
        return answer(event)
    except Exception as cause:
        return http_error(explain(cause, log))
    finally:
        print(json.dumps(log))


def answer(event):
    """Answer GET /jobs/{id}, POST /jobs/{id} or POST /jobs."""
    identifier = (event.get("pathParameters") or {}).get("id")
    if event["requestContext"]["http"]["method"] == "GET":
        return http_response(200, jobs.describe(find(identifier)))
    if identifier:
        find(identifier)
        started = jobs.update(identifier, ["waiting"], state="queued")
        if started is None:
            raise request_error("conflict", "The job has already been started; follow it with GET.")
        return http_response(202, start(identifier))
    return create(parse_body(event))


def find(identifier):
    row = jobs.read(identifier)
    if row is None:
        raise request_error("not_found", "There is no such job; jobs are deleted after a day.")
    return row


def create(request):
    """Create a job. With an address it starts at once; with an upload it waits."""
    options = {name: request[name] for name in OPTIONS if name in request}
    read_options(options)
    given = [name for name in ("url", "upload") if name in request]
    if not given:
        raise request_error("missing_input", 'Send {"url": …}, or {"upload": size in bytes}.')
    if len(given) > 1:
        raise request_error("ambiguous_input", 'Send "url" or "upload", not both.')
    if given == ["url"]:
        return http_response(202, start(jobs.create({"url": request["url"], **options}, "queued")))
    size = request["upload"]
    if type(size) is not int or not 0 < size <= limits.MAX_OBJECT_BYTES:
        raise request_error("too_large", f'"upload" must be a size of 1 to {limits.MAX_OBJECT_BYTES:,} bytes.')
    identifier = jobs.create(options, "waiting")
    link = client("s3").generate_presigned_url(
        "put_object",
        Params={"Bucket": BUCKET, "Key": f"uploads/{identifier}", "ContentLength": size},
        ExpiresIn=UPLOAD_SECONDS,
    )
    return http_response(201, {"id": identifier, "state": "waiting", "upload": link, "socket": socket(identifier)})


def start(identifier):
    """Call the enhancing function for a job, without waiting for it."""
    client("lambda").invoke(
        FunctionName=ENHANCE_FUNCTION, InvocationType="Event", Payload=json.dumps({"job": identifier})
    )
    return {"id": identifier, "state": "queued", "socket": socket(identifier)}


def socket(identifier):
    return f"{SOCKET_URL}?job={identifier}"


def connect(event):
    """Remember which connection follows a job. When a client disconnects or sends something, there is nothing to do."""
    if event["requestContext"]["eventType"] == "CONNECT":
        identifier = (event.get("queryStringParameters") or {}).get("job", "")
        find(identifier)
        jobs.update(identifier, jobs.STATES, connection=event["requestContext"]["connectionId"])
    return {"statusCode": 200}


def record_failure(event):
    """Mark the job of a failed call. The function marks the failures that it can catch, so this call was killed."""
    identifier = event["requestPayload"].get("job")
    payload = event.get("responsePayload") or {}
    reason = str(payload.get("errorMessage", ""))
    if "timed out" in reason.lower():
        return jobs.fail(
            identifier, "timed_out", "The recording took longer than the function may run; send a shorter one."
        )
    if "exited" in reason or "signal: killed" in reason:
        return jobs.fail(identifier, "killed", "The function was killed, most likely because it ran out of memory.")
    return jobs.fail(identifier, "internal", "The function failed; its log says why.")
