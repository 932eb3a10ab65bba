"""AWS Lambda, S3 requests/<user>/<id>.mp4: find the garments that move through a video, and cut pictures of them."""

import json
import tempfile
from functools import cache
from pathlib import Path

import cv2

import models
import storage
import tracking
from aws import TRACKS
from errors import request_error
from jobs import make_key, parse_key
from stages import make_handler
from upload import MAX_BYTES

CROPS = 5  # of each garment; the first is shown to the user, all are classified


@cache
def parameters():
    """Return the tracker's parameters, and the training job that they come from: "built in" before any did well."""
    job, data = models.find("tracker", "parameters.json")
    return (tracking.Parameters.from_json(json.loads(data)), job) if data else (tracking.Parameters(), "built in")


def run(bucket, key, log):
    """Write the tracks of a video, after its crops: the tracks start the next stage."""
    identifier = parse_key(key)
    size, etag = storage.store.find(bucket, key)
    if etag is None:
        return "the video is gone"
    if size > MAX_BYTES:
        raise request_error("too_large", f"The video has {size:,} bytes; {MAX_BYTES:,} are allowed.")
    target = make_key("tracks", identifier, ".json")
    before, previous = storage.read_json(TRACKS, target)
    if before and before["made_from"] == etag:
        return "done before"
    settings, trained_by = parameters()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        storage.store.download(bucket, key, path)
        found = tracking.track(path, settings)
        crops = tracking.crops(path, found["tracks"], CROPS)
    found["tracks"] = [track for track in found["tracks"] if crops.get(track["id"])]
    for track in found["tracks"]:
        track["crops"] = [write_crop(identifier, track["id"], *each) for each in enumerate(crops[track["id"]])]
    log.update(seconds=found["video"]["seconds"], tracks=len(found["tracks"]), tracker=trained_by)
    content = {**found, "tracker": trained_by, "source": {"bucket": bucket, "key": key}, "made_from": etag}
    return "done" if storage.write_json(TRACKS, target, content, previous) else "done by another call"


def write_crop(identifier, track, number, crop):
    """Write a picture of a garment, RGB uint8; return its key."""
    key = make_key("crops", identifier, ".jpg").replace(".jpg", f"/{track}-{number}.jpg")
    _, data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    storage.store.write(TRACKS, key, data.tobytes())
    return key


lambda_handler = make_handler("track", run)
