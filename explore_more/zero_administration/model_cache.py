"""Find a model on the file system that all functions share. The first call that needs a model copies it there.

MODELS says where each model comes from: {"zh-en": "s3://BUCKET/KEY.zip"}, or "hub:OWNER/NAME" for a converted model on
Hugging Face's hub, or a folder. Without MODELS, the models are those of `make models`, or else the small one.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

from answers import request_error

FOLDER = Path(__file__).parent
CACHE = Path(os.environ.get("HF_HOME") or FOLDER / "build/hf_models_cache")
MODELS = json.loads(os.environ.get("MODELS") or "{}")
FILES = ("config.json", "model.bin", "*vocabulary.*", "source.spm", "target.spm")
WAIT_SECONDS = 20  # an HTTP API waits for 30
POLL_SECONDS = 0.2


def local_folder(name):
    """Return the folder of a model on this machine: the large model if `make models` made it, else the small one."""
    large = FOLDER / "build/models" / name
    return large if large.exists() else FOLDER / "models/small"


def is_complete(folder):
    return all(any(folder.glob(pattern)) for pattern in FILES)


def find_model(name):
    """Return the folder of a model, fetching the model if necessary; raise RequestError."""
    address = MODELS.get(name) or str(local_folder(name))
    if address.startswith("s3://"):
        folder = CACHE / f"{name}-{Path(address).stem}"
        fetch = copy_from_s3
    elif address.startswith("hub:"):
        folder, fetch = hub_folder(address), download_from_hub
    else:
        folder, fetch = Path(address), None
    if fetch and not (folder and is_complete(folder)):
        with one_at_a_time(name):
            folder = fetch(address, folder)
    if not is_complete(folder):
        raise missing(name)
    return folder


def missing(name):
    return request_error("model_missing", f"There is no model for {name}; run `make models`, then deploy again.")


@contextmanager
def one_at_a_time(name):
    """Let only one process or thread of all functions fetch a model; raise RequestError if the wait is too long."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with its process, even a killed one
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"The model for {name} is being copied; ask again in a few seconds."
                    raise request_error("model_not_ready", message) from None
            time.sleep(POLL_SECONDS)
        yield


def copy_from_s3(address, folder):
    """Unpack a model from S3, all of it or nothing; remove older versions; return the folder."""
    if is_complete(folder):
        return folder  # another call has copied it in the meantime
    import boto3  # noqa: PLC0415 - only this needs it, and its import takes long

    bucket, _, key = address.removeprefix("s3://").partition("/")
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    with tempfile.TemporaryFile() as archive:
        boto3.client("s3").download_fileobj(bucket, key, archive)
        zipfile.ZipFile(archive).extractall(unfinished)
    name = folder.name.removesuffix(f"-{Path(key).stem}")
    if not is_complete(unfinished):
        raise missing(name)
    unfinished.rename(folder)
    for older in set(CACHE.glob(f"{name}-*")) - {folder}:
        shutil.rmtree(older, ignore_errors=True)
    return folder


def hub_folder(address):
    """Return the folder in which the hub's client keeps a model, or None if it has not downloaded it."""
    repository = CACHE / "hub" / f"models--{address.removeprefix('hub:').replace('/', '--')}"
    revision = repository / "refs/main"
    return repository / "snapshots" / revision.read_text().strip() if revision.exists() else None


def download_from_hub(address, folder):
    """Download a converted model with the hub's own client; return its folder; raise RequestError."""
    import huggingface_hub  # noqa: PLC0415 - only this needs it
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    name = address.removeprefix("hub:")
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES), cache_dir=CACHE / "hub"))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        print(f"{type(error).__name__}: {error}")
        message = f"The model {name} is not on the file system, and the hub cannot be reached; deploy with nat=true."
        raise request_error("model_missing", message) from None
