"""What became of photos that arrived: `make arrivals` and `make redrive` run this.

python arrivals.py table FILE      write a CSV with a row for each of them
python arrivals.py redrive         put the messages of the dead-letter queue back
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engines import Cloud
from report import Report
from storage import Bucket, aws

STACK = os.environ.get("STACK", "explore-more-million-photos")


def redrive(source, target):
    """Move all messages from one queue to another, and return how many.

    One that is sent and not yet deleted when this ends is there twice, which changes nothing in the results.
    """
    sqs, moved = aws("sqs"), 0
    while messages := sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        entries = [{"Id": str(i), "MessageBody": message["Body"]} for i, message in enumerate(messages)]
        sent = sqs.send_message_batch(QueueUrl=target, Entries=entries)["Successful"]
        handles = [{"Id": one["Id"], "ReceiptHandle": messages[int(one["Id"])]["ReceiptHandle"]} for one in sent]
        sqs.delete_message_batch(QueueUrl=source, Entries=handles)
        moved += len(sent)
    return moved


def write_table(bucket, path):
    """Write the rows of all photos that arrived; return the summary."""
    store = Bucket(bucket, "arrived/")
    with open(path, "w", newline="", encoding="utf-8") as file, ThreadPoolExecutor(32) as pool:
        report = Report(file)
        for row in map(json.loads, pool.map(store.get, sorted(store.names("")))):
            report.add(f"{row['place']}/{row['key']}", row.get("scores"), row.get("error"))
    return report.summary()


def main():
    stack = {output["OutputKey"]: output["OutputValue"] for output in Cloud.outputs(STACK)}
    if sys.argv[1] == "redrive":
        print(f"{redrive(stack['DeadLetters'], stack['Queue'])} messages put back")
    else:
        Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
        print(json.dumps(write_table(stack["Bucket"], sys.argv[2]), indent=1))
        print(f"{sys.argv[2]} written", file=sys.stderr)


if __name__ == "__main__":
    main()
