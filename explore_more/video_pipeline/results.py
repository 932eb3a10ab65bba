"""AWS Lambda: what has become of a video.

HTTP   GET /videos/{id}: the state of each stage, and what is there so far
SNS    an event that a stage has failed on for good: writes down which, so that GET can tell
"""

import json

import storage
from aws import RECOGNISED, REQUESTS, RESULTS, TRACKS
from errors import RequestError, request_error
from jobs import make_key, parse_key
from messages import answer_http
from stages import STAGES, failure_key, read_event, record_failure


def answer(event, log):
    """Return status 200 and what is known of a video."""
    identifier = (event.get("pathParameters") or {}).get("id", "")
    if storage.store.find(REQUESTS, make_key("requests", identifier, ".mp4"))[1] is None:
        raise request_error("not_found", "There is no such video: it was not uploaded, or was deleted after a week.")
    tracks, _ = storage.read_json(TRACKS, make_key("tracks", identifier, ".json"))
    recognised, _ = storage.read_json(RECOGNISED, make_key("recognised", identifier, ".json"))
    inventory, _ = storage.read_json(RESULTS, make_key("inventory", identifier, ".json"))
    video = make_key("annotated", identifier, ".webm")
    annotated = storage.store.find(RESULTS, video)[1] is not None
    ready = (True, True, tracks, recognised)
    done = (True, tracks, recognised and annotated, inventory)
    stages = {name: look(identifier, name, *each) for name, *each in zip(STAGES, ready, done)}
    content = {"id": identifier, "state": summarise(stages), "stages": stages}
    if tracks:
        content.update(video=tracks["video"], warnings=tracks["warnings"])
    if recognised:
        content["garments"] = [show(garment, inventory) for garment in recognised["garments"]]
        content["models"] = {name: recognised[name] for name in ("tracker", "classifier")}
    if annotated:
        content["annotated"] = storage.store.link(RESULTS, video)
    if inventory:
        content["inventory"] = {name: inventory[name] for name in ("counts", "summary", "written_by")}
    return 200, content


def look(identifier, name, is_ready, is_done):
    """Return the state of a stage: done, failed, running, or waiting for an earlier one."""
    if is_done:
        return {"state": "done"}
    error, _ = storage.read_json(RESULTS, failure_key(name, identifier))
    if error:
        return {"state": "failed", "error": error}
    return {"state": "running" if is_ready else "waiting"}


def summarise(stages):
    """Return the state of the whole: failed when it will not go on, done when everything is there."""
    states = [stage["state"] for stage in stages.values()]
    if "running" in states:
        return "running"
    return "failed" if "failed" in states else "done"


def show(garment, inventory):
    """Return a garment with a link to its picture, and its sentence once it is written."""
    shown = {name: garment[name] for name in ("id", "class", "confidence", "sure", "first", "last")}
    shown["crop"] = storage.store.link(TRACKS, garment["crop"])
    return {**shown, **(inventory["sentences"].get(str(garment["id"]), {}) if inventory else {})}


answer_get = answer_http(answer)


def lambda_handler(event, context):
    """Answer a request, or write a failure down."""
    if "Records" not in event:
        return answer_get(event, context)
    for record in event["Records"]:
        note_failure(json.loads(record["Sns"]["Message"]))
    return None


def note_failure(failed):
    """Write down that a stage has failed on an event for good, and whether it was ended for time or memory."""
    stage = failed["requestContext"]["functionArn"].split(":function:")[1].split(":")[0].rpartition("-")[2]
    reason = str((failed.get("responsePayload") or {}).get("errorMessage", ""))
    if "timed out" in reason.lower():
        error = "timed_out", "The stage took longer than it may; send a shorter or smaller video."
    elif "exited" in reason or "signal: killed" in reason:
        error = "out_of_memory", "The stage was ended, most likely for want of memory; send a smaller video."
    else:
        error = "internal", "The stage failed each time it was tried; its event is in the dead-letter queue."
    for _, key in read_event(failed["requestPayload"]):
        try:
            record_failure(stage, parse_key(key), *error)
        except RequestError:  # no video: a training job that could not be started
            print(json.dumps({"warning": "a failure of no video", "stage": stage, "key": key}))
