"""AWS Lambda: one photo of clothes in, ten raw scores (logits) out."""

import gc

gc.disable()  # until the last lines of this file, which say why

import base64
import io
import json
import os
import ssl
import time
import traceback
from itertools import count
from pathlib import Path

from keras_image_helper import create_preprocessor
from PIL import Image

import image_source
import limits
from errors import RequestError, request_error
from interpreter import instructions, load_model

try:
    import snapshot_restore_py as snapstart
except ImportError:  # AWS's images before Python 3.12 have no SnapStart
    snapstart = None

CLASSES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]

log = {}  # the log line of the request that is being answered; Lambda sends one request at a time
calls = count()


def timed(name, step):
    """Return a function that does `step` and adds its milliseconds to the log, even if it fails."""

    def run(value):
        started = time.perf_counter()
        try:
            return step(value)
        finally:
            log[name] = round(log.get(name, 0) + 1000 * (time.perf_counter() - started), 1)

    return run


# The steps from a request to its scores. In the log, preprocessing is part of decoding.
read_photo = timed("download_ms", image_source.read_photo)
decode = timed("decode_ms", image_source.decode)
preprocess = timed("decode_ms", create_preprocessor("xception", target_size=(299, 299)).convert_to_tensor)
model = timed("inference_ms", load_model(str(Path(__file__).with_name("clothing_model.tflite"))))


def predict(request):
    """Return {class: logit} for {"url": …} or {"image": base64}."""
    photo = read_photo(request)
    X = preprocess(decode(photo))  # nested, to free the decoded photo before inference: 1.5 ms less
    logits = model(X)[0]
    return dict(zip(CLASSES, logits.tolist()))


def lambda_handler(event, context):
    """Return the scores for a direct event, or an HTTP response for a proxy event; raise RequestError."""
    log.clear()
    log.update(request_id=getattr(context, "aws_request_id", None), start=how_started(), error=None)
    if log["start"] != "warm":
        log["processor"] = instructions()
    free_memory(event)
    try:
        if isinstance(event, dict) and ("body" in event or "requestContext" in event):
            return answer_http(event)
        return predict(check_event(event))
    except Exception as cause:
        raise explain(cause).with_traceback(None) from None
    finally:
        print(json.dumps(log))


def answer_http(event):
    """Return the HTTP response to an API Gateway or function URL event, whose body holds the request."""
    try:
        status, content = 200, predict(parse_body(event))
    except Exception as cause:
        error = explain(cause)
        status, content = error.status, {"error": {"code": log["error"], "message": str(error)}}
    start = [log["start"]] if log["start"] != "warm" else []
    times = [f"{name[:-3]};dur={value}" for name, value in log.items() if name.endswith("_ms")]
    headers = {"Content-Type": "application/json", "Server-Timing": ", ".join(start + times)}
    if "CORS_ORIGIN" in os.environ:
        headers["Access-Control-Allow-Origin"] = os.environ["CORS_ORIGIN"]
        headers["Access-Control-Expose-Headers"] = "Server-Timing"
    return {"statusCode": status, "headers": headers, "body": json.dumps(content)}


# The log's names for the ways in which Lambda starts a process. Any other way is "cold".
STARTS = {"snap-start": "restored", "provisioned-concurrency": "provisioned"}


def how_started():
    """Return "warm", or for the first request of a process how Lambda started the process."""
    return "warm" if next(calls) else STARTS.get(os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"), "cold")


def check_event(event):
    """Return a direct event, which is a request; raise RequestError for an event of another AWS service."""
    if not isinstance(event, dict) or "Records" in event or "detail-type" in event:
        raise request_error("unsupported_event", 'Send {"url": …}, {"image": …} or an API Gateway proxy event.')
    return event


# The longest photo that "image" may hold, with room for the rest of the JSON around it.
MAX_BODY_CHARACTERS = limits.MAX_INLINE_BYTES * 4 // 3 + 16_384


def parse_body(event):
    """Return the request, a dict with "url" or "image", from the JSON body of a proxy event; raise RequestError."""
    body = "{}" if event.get("body") in (None, "") else event["body"]
    try:
        body = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body
    except (ValueError, TypeError):
        raise request_error("invalid_body", "The body is not base64, though isBase64Encoded says so.") from None
    try:
        if len(body) > MAX_BODY_CHARACTERS:
            raise request_error("too_large", f"The body may have at most {MAX_BODY_CHARACTERS:,} characters.")
        request = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise request_error("invalid_json", "The body must be JSON.") from None
    if not isinstance(request, dict):
        raise request_error("invalid_json", "The body must be a JSON object.")
    return {name: request[name] for name in ("url", "image") if name in request}


def explain(cause):
    """Return the RequestError for the caller, and log its code. A bug becomes "internal", and its trace is logged."""
    error = cause
    if not isinstance(cause, RequestError):
        traceback.print_exception(type(cause), cause, cause.__traceback__)
        error = request_error("internal", "The function failed; its log says why.")
    log["error"] = type(error).__name__
    if error.__cause__:
        log["cause"] = place(error.__cause__)
    return error


def place(cause):
    """Return an exception's class and the line that raised it. Its message is left out: it may hold private content."""
    *_, (frame, line) = traceback.walk_tb(cause.__traceback__)
    return f"{type(cause).__name__} at {Path(frame.f_code.co_filename).name}:{line}"


def free_memory(event):
    """Free the photo of the last request, and what this event nests, because no request needs it.

    Nested JSON takes fifty times its size, and the runtime client keeps an event until the next one arrives. Errors
    keep their photo until the garbage is collected: 150 large and broken photos took 603 MB at most without doing so
    for each request, and 470 MB with it.
    """
    for value in event.values() if isinstance(event, dict) else [event]:
        if isinstance(value, (dict, list)):
            value.clear()
    gc.collect()


def warm_up():
    """Score a black photo, so that a snapshot holds what the first inference sets up."""
    photo = io.BytesIO()
    Image.new("RGB", (299, 299)).save(photo, "JPEG")
    predict({"image": base64.b64encode(photo.getvalue()).decode()})
    gc.freeze()


def reseed():
    """Give OpenSSL new randomness. Otherwise all copies of a snapshot would draw the same keys for TLS."""
    ssl.RAND_add(os.urandom(64), 64)


if snapstart:
    snapstart.register_before_snapshot(warm_up)
    snapstart.register_after_restore(reseed)

# Garbage collection while importing takes 18 ms, a tenth of the imports, and finds nothing. Without freeze(),
# `free_memory` would look through all that was imported, which takes 7 ms of each request.
gc.freeze()
gc.enable()
