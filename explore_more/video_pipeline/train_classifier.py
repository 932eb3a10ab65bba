"""AWS Lambda, S3 batches/<name>.json: train the classifier on all labelled crops, now that a batch of them is complete.

The crops are uploaded before, to classifier/<class>/<name>.jpg. What the object that starts the training holds does not
matter, but one and the same key with the same content starts it once.
"""

from pathlib import Path

import interpreter
import storage
from errors import request_error
from stages import make_handler
from training_jobs import start


def run(bucket, key, log):
    """Start a training job for all crops that are there."""
    _, etag = storage.store.find(bucket, key)
    if etag is None:
        return "the batch is gone"
    crops = [each for each in storage.store.list(bucket, "classifier/") if each.endswith(".jpg")]
    if not crops:
        raise request_error("missing_input", "There are no crops; upload them to classifier/<class>/<name>.jpg first.")
    log["crops"] = len(crops)
    log["job"], is_new = start("classifier", (bucket, key, etag), "classifier/", "clothing_model.tflite", built_in)
    return "started" if is_new else "started before"


def built_in():
    return Path(interpreter.__file__).with_name("clothing_model.tflite").read_bytes()


lambda_handler = make_handler("train-classifier", run)
