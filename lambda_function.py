"""AWS Lambda: one photo of clothes in, ten raw scores (logits) out."""

import gc

gc.disable()  # while importing and loading, where looking for garbage takes a tenth of the time

import base64
import io
import json
import os
import ssl
import time
import traceback
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from keras_image_helper import create_preprocessor
from PIL import Image

import limits
from errors import RequestError, request_error
from image_source import decode, read_photo
from interpreter import instructions, load_model

try:
    import snapshot_restore_py as snapstart
except ImportError:  # AWS's images before Python 3.12, for which there is no SnapStart
    snapstart = None

CLASSES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]

preprocessor = create_preprocessor("xception", target_size=(299, 299))
model = load_model(str(Path(__file__).with_name("clothing_model.tflite")))

# The longest photo that "image" may hold, and room for the rest of the JSON around it.
MAX_BODY_CHARACTERS = limits.MAX_INLINE_BYTES * 4 // 3 + 16_384

calls = count()
# What Lambda calls the way in which this process was started, and what the log calls it; "cold" is any other.
STARTS = {"snap-start": "restored", "provisioned-concurrency": "provisioned"}

gc.freeze()
gc.enable()


@contextmanager
def timed(log, name):
    """Add the milliseconds that the block takes to `log`, also when it fails."""
    started = time.perf_counter()
    try:
        yield
    finally:
        log[name] = round(1000 * (time.perf_counter() - started), 1)


def predict(request, log):
    """Return {class: logit} for {"url": …} or {"image": base64}; add milliseconds to `log`."""
    with timed(log, "download_ms"):
        data = read_photo(request)
    with timed(log, "decode_ms"):
        X = preprocessor.convert_to_tensor(decode(data))
    with timed(log, "inference_ms"):
        logits = model(X)[0].tolist()
    return dict(zip(CLASSES, logits))


def parse_body(event):
    """Return the JSON object in the body of an API Gateway or function URL event; raise RequestError."""
    body = "{}" if event.get("body") in (None, "") else event["body"]
    try:
        body = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body
    except (ValueError, TypeError):
        raise request_error("invalid_body", "The body is not base64, though isBase64Encoded says so.") from None
    try:
        if len(body) > MAX_BODY_CHARACTERS:
            raise request_error("too_large", f"The body may hold {MAX_BODY_CHARACTERS:,} characters at most.")
        request = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        raise request_error("invalid_json", "The body must be JSON.") from None
    if not isinstance(request, dict):
        raise request_error("invalid_json", "The body must be a JSON object.")
    return {name: request[name] for name in ("url", "image") if name in request}


def free_memory(event):
    """Empty what an event nests, and collect what the last one left: nested JSON takes fifty times its size.

    Nothing nested is asked for. The runtime client keeps an event until it gets the next, and longer after an error.
    """
    for value in event.values() if isinstance(event, dict) else [event]:
        if isinstance(value, (dict, list)):
            value.clear()
    gc.collect()


def how_started():
    """Return "warm", or for the first request how Lambda started this process."""
    return "warm" if next(calls) else STARTS.get(os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"), "cold")


def lambda_handler(event, context):
    """Answer a direct event with scores, or a proxy event with an HTTP response that holds them."""
    log = {"request_id": getattr(context, "aws_request_id", None), "start": how_started(), "error": None}
    if log["start"] != "warm":
        log["processor"] = instructions()
    is_proxy = isinstance(event, dict) and ("body" in event or "requestContext" in event)
    free_memory(event)
    try:
        if not isinstance(event, dict) or "Records" in event or "detail-type" in event:
            raise request_error("unsupported_event", 'Send {"url": …}, {"image": …} or an API Gateway proxy event.')
        scores = predict(parse_body(event) if is_proxy else event, log)
        return http_response(200, scores, log) if is_proxy else scores
    except Exception as cause:
        error = explain(cause)
        log["error"] = type(error).__name__
        if error.__cause__:
            log["cause"] = place(error.__cause__)
        if is_proxy:
            return http_response(error.status, {"error": {"code": log["error"], "message": str(error)}}, log)
        raise error.with_traceback(None) from None
    finally:
        print(json.dumps(log))


def explain(cause):
    """Return the RequestError for the caller; any other exception is our fault, and for the log alone."""
    if isinstance(cause, RequestError):
        return cause
    traceback.print_exception(type(cause), cause, cause.__traceback__)
    return request_error("internal", "The function failed; its log says why.")


def place(cause):
    """Return an exception's class and the line that raised it, for the log; its message may hold a photo's content."""
    *_, (frame, line) = traceback.walk_tb(cause.__traceback__)
    return f"{type(cause).__name__} at {Path(frame.f_code.co_filename).name}:{line}"


def http_response(status, content, log):
    """Return what an API Gateway proxy integration sends to its client."""
    start = [log["start"]] if log["start"] != "warm" else []
    times = [f"{name[:-3]};dur={value}" for name, value in log.items() if name.endswith("_ms")]
    headers = {"Content-Type": "application/json", "Server-Timing": ", ".join(start + times)}
    if "CORS_ORIGIN" in os.environ:
        headers["Access-Control-Allow-Origin"] = os.environ["CORS_ORIGIN"]
        headers["Access-Control-Expose-Headers"] = "Server-Timing"
    return {"statusCode": status, "headers": headers, "body": json.dumps(content)}


def warm_up():
    """Score a black photo, so that a snapshot holds what the first inference sets up."""
    photo = io.BytesIO()
    Image.new("RGB", (299, 299)).save(photo, "JPEG")
    predict({"image": base64.b64encode(photo.getvalue()).decode()}, {})
    gc.freeze()


def reseed():
    """Give OpenSSL new randomness: all copies of a snapshot would draw the same keys for TLS."""
    ssl.RAND_add(os.urandom(64), 64)


if snapstart:
    snapstart.register_before_snapshot(warm_up)
    snapstart.register_after_restore(reseed)
