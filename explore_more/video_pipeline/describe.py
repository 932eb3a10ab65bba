"""AWS Lambda, S3 recognised/<user>/<id>.json through EventBridge: write the inventory, a sentence for each garment."""

import storage
from aws import RESULTS
from description import describe
from jobs import make_key, parse_key
from stages import make_handler


def run(bucket, key, log):
    """Write the inventory of a video."""
    identifier = parse_key(key)
    recognised, etag = storage.read_json(bucket, key)
    if recognised is None:
        return "what was recognised is gone"
    target = make_key("inventory", identifier, ".json")
    before, previous = storage.read_json(RESULTS, target)
    if before and before["made_from"] == etag:
        return "done before"
    inventory = describe(recognised["garments"])
    log["written_by"] = inventory["written_by"]
    written = storage.write_json(RESULTS, target, {**inventory, "made_from": etag}, previous)
    return "done" if written else "done by another call"


lambda_handler = make_handler("describe", run)
