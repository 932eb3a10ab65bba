"""Where photos, plans and results lie: below a folder or in a bucket, which have the same methods."""

import io
import os
import re
import time
from functools import cache
from pathlib import Path

import limits
from errors import RequestError, request_error

DOWNLOADS = 16  # at once
ATTEMPTS = 3  # at a body that breaks off; botocore itself tries again only until the answer begins
ANSWERS_OF_S3 = {
    "404": "not_found",
    "NoSuchKey": "not_found",
    "NoSuchVersion": "not_found",
    "403": "access_denied",
    "AccessDenied": "access_denied",
    "InvalidObjectState": "archived",
}
# 400 or 403 as well, but for a reason that has nothing to do with the photo and may pass
PASSING = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException"}
PASSING |= {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}


class Throttled(Exception):
    """S3 is too busy or fails, also after some attempts."""


def photo_error(code, message):
    """Return a RequestError with a code that the classifier itself does not have."""
    return type(code, (RequestError,), {})(message)


def refuse_large(size):
    """Raise RequestError for a photo that has more bytes than the classifier reads."""
    if size > limits.MAX_DOWNLOAD_BYTES:
        raise request_error("too_large", f"The photo has over {limits.MAX_DOWNLOAD_BYTES:,} bytes.")


def open_place(where):
    """Return the Bucket of s3://bucket/prefix, or else the Folder of that path."""
    match = re.fullmatch(r"s3://([^/]+)/?(.*)", where, re.DOTALL)
    return Bucket(match[1], match[2]) if match else Folder(where)


class Folder:
    def __init__(self, path):
        self.path = Path(path)

    def __str__(self):
        return str(self.path)

    def keys(self, leave_out=()):
        """Return the paths of all files, without hidden ones and those below the folders `leave_out`."""
        leave_out = {Path(path).resolve() for path in leave_out}
        found = []
        for parent, folders, files in os.walk(self.path):
            folders[:] = [name for name in folders if name[0] != "." and Path(parent, name).resolve() not in leave_out]
            found += [str(Path(parent, name).relative_to(self.path)) for name in files if name[0] != "."]
        return sorted(found)

    def read_photo(self, key, version=None):
        """Return the bytes of a photo; raise RequestError."""
        try:
            refuse_large((self.path / key).stat().st_size)
            return (self.path / key).read_bytes()
        except PermissionError:
            raise photo_error("access_denied", "The file may not be read.") from None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise photo_error("not_found", "The file has gone.") from None

    def get(self, name):
        """Return the bytes under a name, or None."""
        path = self.path / name
        return path.read_bytes() if path.exists() else None

    def put(self, name, data, once=False):
        """Keep bytes under a name, whole or not at all; with `once`, return whether nothing was there before."""
        path = self.path / name
        if once and path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.part")
        part.write_bytes(data)
        part.replace(path)
        return True

    def names(self, prefix):
        """Return the names below a prefix that ends with a slash."""
        folder = self.path / prefix
        names = os.listdir(folder) if folder.is_dir() else []
        return [prefix + name for name in names if not name.endswith(".part")]


@cache
def aws(service):
    """Return a client of AWS, which tries again with growing pauses and jitter where it is throttled."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 6},
        max_pool_connections=2 * DOWNLOADS,
        connect_timeout=3,
        read_timeout=10 if service == "s3" else 60,
        response_checksum_validation="when_required",  # a broken photo shows; a sum would cost processor time
        request_checksum_calculation="when_required",
    )
    return boto3.client(service, region_name=os.environ.get("AWS_REGION"), config=config)


class Bucket:
    def __init__(self, name, prefix=""):
        self.name = name
        self.prefix = prefix

    def __str__(self):
        return f"s3://{self.name}/{self.prefix}"

    def keys(self, leave_out=()):
        """Return the keys below the prefix, but for the markers of folders, and those below `leave_out`."""
        pages = aws("s3").get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix)
        return [
            photo["Key"]
            for page in pages
            for photo in page.get("Contents", ())
            if not (photo["Key"].endswith("/") and photo["Size"] == 0) and not photo["Key"].startswith(tuple(leave_out))
        ]

    def read_photo(self, key, version=None):
        """Return the bytes of a photo, whatever the prefix; raise RequestError or Throttled."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        of_version = {"VersionId": version} if version else {}
        for attempt in range(ATTEMPTS):
            try:
                answer = aws("s3").get_object(Bucket=self.name, Key=key, **of_version)
                refuse_large(answer["ContentLength"])
                return answer["Body"].read()
            except ClientError as error:
                raise explain(error) from error
            except BotoCoreError as error:
                if attempt == ATTEMPTS - 1:
                    raise Throttled("S3 breaks off.") from error

    def get(self, name):
        """Return the bytes under a name, or None."""
        try:
            return aws("s3").get_object(Bucket=self.name, Key=self.prefix + name)["Body"].read()
        except aws("s3").exceptions.NoSuchKey:
            return None

    def put(self, name, data, once=False):
        """Keep bytes under a name; with `once`, return whether nothing was there before."""
        if not once:  # in several requests where they are many
            aws("s3").upload_fileobj(io.BytesIO(data), self.name, self.prefix + name)
            return True
        try:
            aws("s3").put_object(Bucket=self.name, Key=self.prefix + name, Body=data, IfNoneMatch="*")
        except aws("s3").exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                raise
            return False
        return True

    def names(self, prefix):
        """Return the names below a prefix that ends with a slash."""
        pages = aws("s3").get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix + prefix)
        return [found["Key"][len(self.prefix) :] for page in pages for found in page.get("Contents", ())]


def explain(error):
    """Return the error for an answer of S3: a RequestError of the photo, or Throttled."""
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500 or status == 429 or code in PASSING:
        return Throttled(f"S3 answers {code}.")
    known = ANSWERS_OF_S3.get(code) or ANSWERS_OF_S3.get(str(status), "unreadable")
    return photo_error(known, f"S3 answers {code}.")
