"""Where videos and results lie: buckets of S3 or, for `make run`, folders of this machine.

A write can depend on what was there before. `previous` is the ETag that the caller has read, or None for nothing;
where another call has written in the meantime, nothing is written, and the answer is False.
"""

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

from aws import client

LINK_SECONDS = 3600
ANY = "any"  # the `previous` of a write that does not depend on anything
MEDIA_TYPES = {".json": "application/json", ".jpg": "image/jpeg", ".mp4": "video/mp4", ".webm": "video/webm"}


class S3:
    def read(self, bucket, key):
        """Return the bytes and the ETag of an object; None, None where there is none."""
        try:
            answer = client("s3").get_object(Bucket=bucket, Key=key)
        except client("s3").exceptions.NoSuchKey:
            return None, None
        return answer["Body"].read(), answer["ETag"].strip('"')

    def find(self, bucket, key):
        """Return the size and the ETag of an object; None, None where there is none."""
        try:
            answer = client("s3").head_object(Bucket=bucket, Key=key)
        except client("s3").exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None, None
        return answer["ContentLength"], answer["ETag"].strip('"')

    def list(self, bucket, prefix):
        """Return the keys that begin so, newest first."""
        pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [each for page in pages for each in page.get("Contents", ())]
        return [each["Key"] for each in sorted(found, key=lambda each: each["LastModified"], reverse=True)]

    def download(self, bucket, key, path):
        client("s3").download_file(bucket, key, str(path))

    def write(self, bucket, key, content, previous=ANY):
        """Write bytes, or the file at a path; return whether it was written."""
        s3 = client("s3")
        condition = {} if previous == ANY else {"IfMatch": previous} if previous else {"IfNoneMatch": "*"}
        media_type = MEDIA_TYPES.get(Path(key).suffix, "application/octet-stream")
        body = content if isinstance(content, bytes) else Path(content).read_bytes()
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=media_type, **condition)
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return False
        return True

    def link(self, bucket, key):
        """Return an address at which anyone reads the object, for LINK_SECONDS."""
        return client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=LINK_SECONDS
        )

    def upload_link(self, bucket, key, size, sha256):
        """Return an address and headers with which anyone puts these bytes, and no others, where nothing is yet."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        parameters = {"ContentLength": size, "ChecksumSHA256": checksum, "IfNoneMatch": "*"}
        url = client("s3").generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": key, **parameters}, ExpiresIn=LINK_SECONDS
        )
        return {"url": url, "method": "PUT", "headers": {"x-amz-checksum-sha256": checksum, "If-None-Match": "*"}}


class Folder:
    """The same on this machine. `written(bucket, key)` is called after each write, as S3 sends an event."""

    def __init__(self, root, written):
        self.root, self.written = Path(root), written

    def read(self, bucket, key):
        path = self.root / bucket / key
        return (path.read_bytes(), self.find(bucket, key)[1]) if path.exists() else (None, None)

    def find(self, bucket, key):
        path = self.root / bucket / key
        if not path.exists():
            return None, None
        return path.stat().st_size, hashlib.md5(path.read_bytes()).hexdigest()

    def list(self, bucket, prefix):
        found = [path for path in (self.root / bucket).rglob("*") if path.is_file()]
        found.sort(key=os.path.getmtime, reverse=True)
        keys = [path.relative_to(self.root / bucket).as_posix() for path in found]
        return [key for key in keys if key.startswith(prefix)]

    def download(self, bucket, key, path):
        shutil.copyfile(self.root / bucket / key, path)

    def write(self, bucket, key, content, previous=ANY):
        path = self.root / bucket / key
        if previous not in (ANY, self.find(bucket, key)[1]):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
        self.written(bucket, key)
        return True

    def link(self, bucket, key):
        return f"/files/{bucket}/{key}"

    def upload_link(self, bucket, key, size, sha256):
        return {"url": f"/files/{bucket}/{key}", "method": "PUT", "headers": {"If-None-Match": "*"}}


store = S3()


def use(other):
    """Take another store, a Folder, for all functions."""
    global store  # noqa: PLW0603
    store = other


def read_json(bucket, key):
    """Return the JSON in an object and its ETag; None, None where there is none."""
    data, etag = store.read(bucket, key)
    return (None, None) if data is None else (json.loads(data), etag)


def write_json(bucket, key, content, previous=ANY):
    return store.write(bucket, key, json.dumps(content).encode(), previous)
