"""Read recordings from addresses, from base64 and from the bucket; return or store the results."""

import base64
import io
import os
import tempfile
import uuid

import limits
from aws import BUCKET, client
from download import download
from errors import request_error

UPLOADS, RESULTS = "uploads/", "results/"
LINK_SECONDS = 3600


def scratch():
    """Return a new binary file that is deleted when it is closed. On Lambda it is in /tmp."""
    return tempfile.TemporaryFile()


def open_recording(request):
    """Return a seekable binary file with the recording of a request; raise RequestError."""
    given = [name for name in ("url", "audio", "key") if name in request]
    if not given:
        raise request_error("missing_input", 'Send {"url": …}, {"audio": "<base64>"} or {"bucket": …, "key": …}.')
    if len(given) > 1:
        raise request_error("ambiguous_input", f"Send only one of {', '.join(given)}.")
    if given == ["url"]:
        return io.BytesIO(download(request["url"]))
    if given == ["audio"]:
        return io.BytesIO(decode_base64(request["audio"]))
    return open_object(request.get("bucket", BUCKET), request["key"])


def decode_base64(text):
    """Return the bytes of a base64 string, at most MAX_INLINE_BYTES; raise RequestError."""
    if not isinstance(text, str):
        raise request_error("invalid_base64", '"audio" must be a string of base64.')
    if len(text) > limits.MAX_INLINE_BYTES * 4 // 3 + 4:
        message = f'"audio" may have at most {limits.MAX_INLINE_BYTES:,} bytes; upload the recording with a job.'
        raise request_error("too_large", message)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise request_error("invalid_base64", '"audio" must be standard base64 on one line.') from None


def open_object(bucket, key):
    """Return a file with an object of the bucket; raise RequestError."""
    if not BUCKET or bucket != BUCKET:
        raise request_error("not_found", '"bucket" must be the one that belongs to this function.')
    if not isinstance(key, str) or not key.startswith(UPLOADS):
        raise request_error("not_found", f'"key" must be the key of an object under {UPLOADS}.')
    s3 = client("s3")
    try:
        size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
    except s3.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
            raise
        raise request_error("not_found", "There is no such object; upload the recording first.") from error
    if size > limits.MAX_OBJECT_BYTES:
        message = f"The recording is larger than {limits.MAX_OBJECT_BYTES:,} bytes; send a smaller one."
        raise request_error("too_large", message)
    file = scratch()
    s3.download_fileobj(bucket, key, file)
    file.seek(0)
    return file


def return_recording(file, made, inline):
    """Return the recording for an answer: in base64 if that is allowed and it is small, else as a link."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if inline and size <= limits.MAX_INLINE_ANSWER_BYTES:
        return {"audio": base64.b64encode(file.read()).decode()}
    if not BUCKET:
        message = f"The result has {size:,} bytes, but this function has no bucket to store it in; ask for mp3 or ogg."
        raise request_error("too_large", message)
    return put_recording(file, f"{RESULTS}{uuid.uuid4()}.{made['format']}", made["content_type"])


def put_recording(file, key, media_type):
    """Put a file into the bucket; return where it is, and a link to it."""
    name = f'attachment; filename="enhanced{os.path.splitext(key)[1]}"'
    extra = {"ContentType": media_type, "ContentDisposition": name}
    client("s3").upload_fileobj(file, BUCKET, key, ExtraArgs=extra)
    parameters = {"Bucket": BUCKET, "Key": key}
    link = client("s3").generate_presigned_url("get_object", Params=parameters, ExpiresIn=LINK_SECONDS)
    return {"bucket": BUCKET, "key": key, "url": link}
