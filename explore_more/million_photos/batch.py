"""AWS Lambda: a batch of photos in S3 in, one object with a row for each photo out; or photos that just arrived there.

python batch.py      classifies what it reads from standard input; Worker starts it so
"""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from urllib.parse import unquote_plus

from errors import RequestError
from image_source import decode
from lambda_function import model, preprocess
from storage import DOWNLOADS, Bucket, Throttled, open_place

SPARE_SECONDS = 60  # before the function's own end; the slowest photo takes less
PHOTO_SECONDS = 120  # after which a worker that says nothing has hung
DENIED_PHOTOS = 10  # so many and no other in a batch: the permission is missing, and not a photo's own
MEGABYTES = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"))


class OutOfTime(Exception):
    """The function's time is nearly over."""


class AccessDenied(Exception):
    """Not one photo of a batch may be read."""


def classify(photos):
    """Yield a row for each (place, key, version), in order: {"scores": […]}, {"error": code} or {"throttled": why}.

    Next photos are downloaded while the model works, so that the processor does not wait for them.
    """
    photos = iter(photos)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        ahead = deque(pool.submit(read, *photo) for photo in islice(photos, DOWNLOADS))
        try:
            while ahead:
                yield answer(ahead.popleft())
                ahead.extend(pool.submit(read, *photo) for photo in islice(photos, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def read(place, key, version=None):
    """Return the bytes of a photo; raise RequestError or Throttled."""
    return open_place(place).read_photo(key, version)


def answer(download):
    """Return the row of a photo whose bytes are a future."""
    try:
        X = preprocess(decode(download.result()))
        return {"scores": [round(score, 4) for score in model(X)[0].tolist()]}
    except Throttled as error:
        return {"throttled": str(error)}
    except RequestError as error:
        return {"error": type(error).__name__}


class Worker:
    """A process that classifies photos. It may die of one, and does the next ones all the same."""

    def __init__(self):
        self.process = None

    def start(self):
        """Start a process with one thread, as a function of one core has."""
        environ = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769", **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], env=environ, text=True, **pipes)

    def classify(self, photos):
        """Yield the rows of `classify`; a photo that kills the process gets one that says so."""
        photos = list(photos)
        while photos:
            if self.process is None:
                self.start()
            done = 0
            for row in self.ask(photos):
                yield row
                done += 1
            if done < len(photos):
                self.stop()
                yield {"error": "function_died"}
                done += 1
            photos = photos[done:]

    def ask(self, photos):
        """Yield the process's rows, until it has answered for all photos or is dead."""
        try:
            print(json.dumps(photos), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return
        for _ in photos:
            alarm = threading.Timer(PHOTO_SECONDS, self.process.kill)
            alarm.start()
            line = self.process.stdout.readline()
            alarm.cancel()
            if not line.endswith("\n"):
                return
            yield json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def work():
    """Be the process of a Worker: answer each line of photos with a line for each of them."""
    rows, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        for row in classify(json.loads(line)):
            print(json.dumps(row), file=rows, flush=True)


def pack(rows, seconds):
    """Return the bytes of a result: a line about the batch, and one for each photo."""
    lines = [{"photos": len(rows), "seconds": round(seconds, 3), "megabytes": MEGABYTES}, *rows]
    return gzip.compress("\n".join(map(json.dumps, lines)).encode(), mtime=0)


def unpack(data):
    """Return what `pack` was given, and the megabytes of the function."""
    about, *rows = map(json.loads, gzip.decompress(data).decode().split("\n"))
    return rows, about["seconds"], about["megabytes"]


def run_batch(store, place, batch, classify=classify, remaining=lambda: float("inf")):
    """Classify a batch and keep its result, unless that is there; go on where an interrupted call stopped.

    `remaining` returns the seconds that are left. Raise OutOfTime, Throttled or AccessDenied.
    """
    started = time.monotonic()
    name = f"{batch['number']:07}.jsonl.gz"
    if store.get(f"results/{name}"):
        return
    partial = store.get(f"partial/{name}")
    rows, before, _ = unpack(partial) if partial else ([], 0, None)
    keys = batch["keys"][len(rows) :]
    try:
        for key, row in zip(keys, classify([str(place), key] for key in keys)):
            if "throttled" in row:
                raise Throttled(row["throttled"])
            rows.append({"key": key, **row})
            if remaining() < SPARE_SECONDS and len(rows) < len(batch["keys"]):
                raise OutOfTime("The rest of the batch needs another call.")
    except (Throttled, OutOfTime):
        store.put(f"partial/{name}", pack(rows, before + time.monotonic() - started))
        raise
    if len(rows) >= DENIED_PHOTOS and all(row.get("error") == "access_denied" for row in rows):
        raise AccessDenied(
            f"Not one photo of a batch in {place} may be read; deploy with PHOTO_BUCKETS, or change its policy."
        )
    store.put(f"results/{name}", pack(rows, before + time.monotonic() - started), once=True)


def read_message(message):
    """Return the photos that S3 names in a message of a queue; raise ValueError, LookupError or TypeError."""
    body = json.loads(message["body"])
    if body.get("Event") == "s3:TestEvent":
        return []
    return [
        {
            "place": f"s3://{record['s3']['bucket']['name']}",
            "key": unquote_plus(record["s3"]["object"]["key"]),
            "version": record["s3"]["object"].get("versionId"),
            "time": record["eventTime"],
        }
        for record in body["Records"]
    ]


def classify_arrivals(store, messages):
    """Classify the photos that messages name, and keep a row for each; return the ids of messages to send again."""
    again, photos = set(), []
    for message in messages:
        try:
            photos += [(message["messageId"], photo) for photo in read_message(message)]
        except (ValueError, LookupError, TypeError, AttributeError):
            traceback.print_exc()
            again.add(message["messageId"])
    careful = any(int(message["attributes"]["ApproximateReceiveCount"]) > 1 for message in messages)
    with Worker() as worker:
        asked = ([photo["place"], photo["key"], photo["version"]] for _, photo in photos)
        for (message_id, photo), row in zip(photos, worker.classify(asked) if careful else classify(asked)):
            if "throttled" in row or row.get("error") == "access_denied":
                again.add(message_id)
            else:
                keep_arrival(store, {**photo, **row})
    return sorted(again)


def keep_arrival(store, row):
    """Keep the row of a photo under a name that only this arrival has, so that doing it twice changes nothing."""
    identity = json.dumps([row["place"], row["key"], row["version"], row["time"]])
    store.put(
        f"{row['time'][:10]}/{hashlib.sha256(identity.encode()).hexdigest()}.json", json.dumps(row).encode(), once=True
    )


def lambda_handler(event, context):
    """Classify a batch of a run, or the photos that messages of a queue name."""
    if "Records" in event:
        again = classify_arrivals(Bucket(os.environ["BUCKET"], "arrived/"), event["Records"])
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}
    store = Bucket(os.environ["BUCKET"], f"batches/{event['run']}/")
    with Worker() as worker:
        run_batch(
            store,
            Bucket(event["bucket"]),
            event["batch"],
            worker.classify if event.get("careful") else classify,
            lambda: context.get_remaining_time_in_millis() / 1000,
        )
    return {}


if __name__ == "__main__":
    work()
