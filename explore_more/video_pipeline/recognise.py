"""AWS Lambda, S3 tracks/<user>/<id>.json: name each garment, and draw the names into the video."""

import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np

import drawing
import models
import recognition
import storage
from aws import RECOGNISED, RESULTS
from errors import request_error
from jobs import make_key, parse_key
from stages import make_handler


@cache
def classifier():
    """Return the model, and the training job that it comes from: None, "built in" before any did well."""
    job, data = models.find("classifier", "clothing_model.tflite")
    if data is None:
        return None, "built in"
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        return recognition.open_model(file.name), job


def run(bucket, key, log):
    """Write what each track is, then the annotated video."""
    identifier = parse_key(key)
    tracks, etag = storage.read_json(bucket, key)
    if tracks is None:
        return "the tracks are gone"
    target = make_key("recognised", identifier, ".json")
    done, previous = storage.read_json(RECOGNISED, target)
    if done is None or done["made_from"] != etag:
        done = name_tracks(bucket, tracks, log)
        done["made_from"] = etag
        if not storage.write_json(RECOGNISED, target, done, previous):
            return "done by another call"
    return annotate(identifier, tracks, done, log)


def name_tracks(bucket, tracks, log):
    """Return what each track is, and from when to when it is seen."""
    model, trained_by = classifier()
    garments = []
    for track in tracks["tracks"]:
        crops = [read_crop(bucket, key) for key in track["crops"]]
        found = recognition.recognise(crops, model)
        seen = {name: track[name] for name in ("id", "first", "last")}
        garments.append({**seen, **found, "crop": track["crops"][0]})
    log.update(garments=len(garments), classifier=trained_by)
    return {"video": tracks["video"], "garments": garments, "classifier": trained_by, "tracker": tracks["tracker"]}


def read_crop(bucket, key):
    """Return a picture of a garment as RGB uint8."""
    data, _ = storage.store.read(bucket, key)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def annotate(identifier, tracks, done, log):
    """Write the video with a box and a name for each garment, unless it is there."""
    target = make_key("annotated", identifier, ".webm")
    if storage.store.find(RESULTS, target)[1]:
        return "done before"
    names = {each["id"]: each["class"] + ("" if each["sure"] else "?") for each in done["garments"]}
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "video.mp4"), Path(folder, "annotated.webm")
        if storage.store.find(*tracks["source"].values())[1] is None:
            raise request_error("not_found", "The video was deleted before it could be annotated.")
        storage.store.download(*tracks["source"].values(), source)
        drawing.annotate(source, tracks["tracks"], names, made)
        storage.store.write(RESULTS, target, made)
    return "done"


lambda_handler = make_handler("recognise", run)
