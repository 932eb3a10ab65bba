"""What training made, and whether it may be used."""

import io
import json
import tarfile

import storage
from aws import MODELS

MAX_BYTES = 200_000_000


def find(task, name):
    """Return the newest training job of a task that did better than what was in use, and its file of that name.

    Return None, None where there is none. SageMaker writes <task>/<job>/output/model.tar.gz.
    """
    for key in storage.store.list(MODELS, f"{task}/"):
        if not key.endswith("/model.tar.gz"):
            continue
        data, _ = storage.store.read(MODELS, key)
        files = unpack(data or b"")
        if is_accepted(files) and name in files:
            return key.split("/")[1], files[name]
    return None, None


def unpack(data):
    """Return the files in a model.tar.gz, as bytes by name; nothing for a broken one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            members = [each for each in archive if each.isfile() and each.size < MAX_BYTES]
            return {each.name.removeprefix("./"): archive.extractfile(each).read() for each in members}
    except (tarfile.TarError, OSError, EOFError) as error:
        print(json.dumps({"warning": f"a broken model: {type(error).__name__}"}))
        return {}


def is_accepted(files):
    """Return whether training says that its result did better on what it had not seen."""
    try:
        return json.loads(files["report.json"])["accepted"] is True
    except (KeyError, ValueError, TypeError):
        return False
