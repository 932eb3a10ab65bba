"""Jobs are rows in DynamoDB: a client creates them, the function does them, and both can read them."""

import json
import time
import uuid

from aws import TABLE, client

STATES = ("waiting", "queued", "running", "done", "failed")
KEPT_SECONDS = 24 * 3600
REPORT_SECONDS = 2


def create(request, state):
    """Add a job and return its identifier."""
    identifier = str(uuid.uuid4())
    row = {
        "id": {"S": identifier},
        "state": {"S": state},
        "request": {"S": json.dumps(request)},
        "expires": {"N": str(int(time.time()) + KEPT_SECONDS)},
    }
    client("dynamodb").put_item(TableName=TABLE, Item=row, ConditionExpression="attribute_not_exists(id)")
    return identifier


def read(identifier):
    """Return a job's row as a dict of strings, or None."""
    answer = client("dynamodb").get_item(TableName=TABLE, Key={"id": {"S": identifier}}, ConsistentRead=True)
    return {name: next(iter(value.values())) for name, value in answer["Item"].items()} if "Item" in answer else None


def describe(row):
    """Return the part of a job's row that its client may see."""
    content = {"id": row["id"], "state": row["state"]}
    content.update({name: json.loads(row[name]) for name in ("progress", "result", "error") if name in row})
    return content


def update(identifier, allowed, **values):
    """Set values of a job if its state is one of `allowed`; return its row, or None if it has another state."""
    dynamodb = client("dynamodb")
    names = {f"#{number}": name for number, name in enumerate(values)}
    data = {f":{number}": {"S": value} for number, value in enumerate(values.values())}
    states = {f":s{number}": {"S": state} for number, state in enumerate(allowed)}
    try:
        answer = dynamodb.update_item(
            TableName=TABLE,
            Key={"id": {"S": identifier}},
            UpdateExpression="SET " + ", ".join(f"#{number} = :{number}" for number in range(len(values))),
            ConditionExpression=f"#state IN ({', '.join(states)})",
            ExpressionAttributeNames={**names, "#state": "state"},
            ExpressionAttributeValues={**data, **states},
            ReturnValues="ALL_NEW",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return {name: next(iter(value.values())) for name, value in answer["Attributes"].items()}


def claim(identifier):
    """Mark a queued job as running and return its request, or None if another call has claimed it."""
    row = update(identifier, ["queued"], state="running")
    if row is None:
        return None
    request = json.loads(row["request"])
    return request if "url" in request else {"key": f"uploads/{identifier}", **request}


def finish(identifier, result):
    """Mark a running job as done, with its result."""
    return tell(update(identifier, ["running"], state="done", result=json.dumps(result)))


def fail(identifier, code, message):
    """Mark a job as failed, with the reason, unless it is done."""
    error = json.dumps({"code": code, "message": message})
    return tell(update(identifier, ["queued", "running"], state="failed", error=error))


class Progress:
    """A progress function that writes the finished share into the job's row, at most every two seconds."""

    def __init__(self, identifier):
        self.identifier, self.next = identifier, 0.0

    def __call__(self, done, seconds):
        if seconds and time.monotonic() >= self.next:
            self.next = time.monotonic() + REPORT_SECONDS
            share = round(min(1.0, done / seconds), 3)
            tell(update(self.identifier, ["running"], progress=json.dumps(share)))


def tell(row):
    """Send a job's description to the client that is connected for it; return the description."""
    if row is None:
        return None
    if "connection" in row:
        message = json.dumps(describe(row)).encode()
        try:
            client("apigatewaymanagementapi").post_to_connection(ConnectionId=row["connection"], Data=message)
        except Exception as error:  # the client has gone, or AWS failed; polling still works
            print(json.dumps({"warning": f"not told: {type(error).__name__}", "job": row["id"]}))
    return describe(row)
