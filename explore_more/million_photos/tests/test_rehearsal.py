"""The stack in a stand-in for AWS on this machine: runs, arrivals, and what can go wrong with them."""

import gzip
import json
import os
import subprocess
import time
from contextlib import ExitStack

import boto3
import pytest
from conftest import BROKEN, DEADLY, FAULT, FOLDER, PHOTOS, ROOT, classify, rows_of

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

from tests.harness import aws, servers
from tests.harness.aws import running_aws
from tests.harness.containers import bridge_address, docker, find_base
from tests.harness.servers import Forwarder, free_port

NAME = "explore-more-million-photos"
SECONDS = 120
ODD_KEYS = ["album/a b+c%20.jpg", 'album/quote",.jpg', "album/line\nbreak.jpg", "album/шапка 🎩.jpg", "album//.jpg"]


def make(verb, account):
    """Run a verb as its user does; return what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    environ = {**environ, **account.environ, "BASE": account.base, "PHOTO_BUCKETS": "photos,others"}
    return subprocess.run(["make", verb], cwd=FOLDER, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    """An AWS account after `make deploy`, whose function dies of DEADLY; `make destroy` leaves nothing in it."""
    with running_aws(tmp_path_factory.mktemp("aws")) as account, ExitStack() as stack:
        account.base = find_base("3.13")
        account.printed = make("deploy", account)
        outputs = account.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"][0]["Outputs"]
        account.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        account.client = lambda service: boto3.client(
            service,
            region_name="eu-west-1",
            endpoint_url=account.proxy.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        account.s3 = account.client("s3")
        make_deadly(account)
        # The function's calls of S3 go through the proxy as well.
        bridge, port = bridge_address(), free_port()
        stack.enter_context(servers.running(Forwarder((bridge, port), ("127.0.0.1", account.proxy.server_port))))
        functions = account.client("lambda")
        variables = functions.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL_S3"] = f"http://{bridge}:{port}"
        functions.update_function_configuration(FunctionName=NAME, Environment={"Variables": variables})
        for bucket in ("photos", "others"):
            place = {"LocationConstraint": "eu-west-1"}
            account.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        yield account
        make("destroy", account)
        assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
        assert account.aws("lambda", "list-functions")["Functions"] == []
        left = [bucket["Name"] for bucket in account.aws("s3api", "list-buckets")["Buckets"]]
        assert sorted(left) == ["others", "photos"]


def make_deadly(account):
    """Give the function an image that differs by the fault alone."""
    functions = account.client("lambda")
    image = functions.get_function(FunctionName=NAME)["Code"]["ImageUri"]
    name = image.split("@")[0]
    lines = " ".join(f"'{line}'" for line in FAULT.splitlines())
    text = f"FROM {image}\nRUN printf '%s\\n' {lines} >>image_source.py\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{name}:deadly", "-"], input=text, text=True, check=True)
    docker("push", "--quiet", f"{name}:deadly")
    functions.update_function_code(FunctionName=NAME, ImageUri=f"{name}:deadly")


@pytest.fixture(autouse=True)
def no_faults(account):
    account.proxy.reset()


def upload(account, keys, bucket="photos"):
    """Put photos under keys, one of the repository's each in turn."""
    for number, key in enumerate(keys):
        account.s3.put_object(Bucket=bucket, Key=key, Body=PHOTOS[number % len(PHOTOS)].read_bytes())


def run(account, *arguments, check=True):
    return classify(*arguments, "--concurrency", 2, check=check, **account.environ)


def table(account, name):
    """Return the rows of a run's table."""
    return rows_of(get(account, f"runs/{name}/table.csv"))


def get(account, key):
    return account.s3.get_object(Bucket=account.outputs["Bucket"], Key=key)["Body"].read()


def names(account, prefix):
    """Return {key: time of the last change} below a prefix of the stack's bucket."""
    pages = account.s3.get_paginator("list_objects_v2").paginate(Bucket=account.outputs["Bucket"], Prefix=prefix)
    return {one["Key"]: one["LastModified"] for page in pages for one in page.get("Contents", ())}


def executions(account):
    found = account.client("stepfunctions").list_executions(stateMachineArn=account.outputs["StateMachine"])
    return sorted(execution["name"] for execution in found["executions"])


def wait_for(what, seconds=SECONDS):
    """Return what a function returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return result


def test_deploying_ends_with_photos_that_the_stack_classified(account):
    assert '"classified": 20' in account.printed


def test_500_photos_with_20_broken_ones_are_all_accounted_for_once(account):
    good = [f"album/{number % 7}/{number}.jpg" for number in range(480 - len(ODD_KEYS))] + ODD_KEYS
    upload(account, good)
    upload(account, ["album-of-others/1.jpg", "al.jpg"])
    broken = {"album/deadly.jpg": "function_died"}
    account.s3.put_object(Bucket="photos", Key="album/deadly.jpg", Body=DEADLY)
    for number in range(19):
        code = list(BROKEN)[number % len(BROKEN)]
        broken[f"album/broken/{number}"] = code
        account.s3.put_object(Bucket="photos", Key=f"album/broken/{number}", Body=BROKEN[code])
    account.s3.put_object(Bucket="photos", Key="album/folder/", Body=b"")
    done = run(account, "s3://photos/album", "--name", "large", "--batch-size", 100)
    rows = table(account, "large")
    assert set(rows) == {*good, *broken} and len(rows) == 500
    assert {key: row["error"] for key, row in rows.items() if row["error"]} == broken
    assert all(rows[key]["class"] for key in good)
    summary = json.loads(done.stdout)
    assert summary == json.loads(get(account, "runs/large/summary.json"))
    assert (summary["photos"], summary["classified"]) == (500, 480)
    assert 0.0002 < summary["dollars"]["sum"] < 0.1  # of which 500 GETs are 0.0002
    assert get(account, "runs/large/sheet.jpg").startswith(b"\xff\xd8")
    assert len(names(account, "batches/large/results/")) == 5


def test_the_same_name_does_not_run_twice(account):
    upload(account, [f"twice/{number}.jpg" for number in range(20)])
    commands = ["s3://photos/twice/", "--name", "twice", "--concurrency", "2"]
    first, second = (
        subprocess.Popen([FOLDER / "classify.sh", *commands], env={**os.environ, **account.environ}) for _ in range(2)
    )
    assert (first.wait(SECONDS), second.wait(SECONDS)) == (0, 0)
    results = names(account, "batches/twice/results/")
    again = run(account, *commands)
    assert "nothing runs twice" in again.stderr
    assert names(account, "batches/twice/results/") == results
    assert [name for name in executions(account) if name.startswith("twice")] == ["twice"]
    other = run(account, "s3://photos/album/", "--name", "twice", check=False)
    assert other.returncode != 0 and "belongs to a run over" in other.stderr


def test_a_stopped_run_goes_on_without_doing_photos_again(account):
    keys = [f"stopped/{number}.jpg" for number in range(160)]
    upload(account, keys)
    command = ["s3://photos/stopped", "--name", "stopped"]
    waiting = subprocess.Popen(
        [FOLDER / "classify.sh", *command, "--batch-size", "10", "--concurrency", "2"],
        env={**os.environ, **account.environ},
    )
    wait_for(lambda: len(names(account, "batches/stopped/results/")) >= 2)
    waiting.kill()
    waiting.wait()
    assert "Stopped" in run(account, *command, "--stop").stderr
    wait_for(lambda: still(account))
    done = names(account, "batches/stopped/results/")
    assert 2 <= len(done) < 16
    ended = run(account, *command, check=False)
    assert ended.returncode == 1 and "ABORTED" in ended.stderr and "--resume" in ended.stderr
    assert sum(row["error"] == "not_done" for row in table(account, "stopped").values()) == 160 - 10 * len(done)
    account.proxy.reset()
    run(account, *command, "--resume")
    after = names(account, "batches/stopped/results/")
    assert len(after) == 16 and {key: after[key] for key in done} == done
    rows = table(account, "stopped")
    assert set(rows) == set(keys) and not any(row["error"] for row in rows.values())
    read = [call for call in account.proxy.calls if call.startswith("GET /photos/stopped/")]
    assert len(read) <= 160 - 10 * len(done) + 11 * 8  # and those of the sheet
    assert [name for name in executions(account) if name.startswith("stopped")] == ["stopped", "stopped-2"]


def still(account):
    """Return whether no batch of a stopped run is being done any more."""
    before = names(account, "batches/stopped/results/")
    time.sleep(3)
    return names(account, "batches/stopped/results/") == before


def test_throttled_reads_are_tried_again(account):
    """Each first read fails, and one photo's so often that the function gives up and the map calls it again."""
    keys = [f"busy/{number}.jpg" for number in range(20)]
    upload(account, keys)

    def fault(name, number):
        if not name.startswith("GET /photos/busy/"):
            return None
        return "broken" if number <= (6 if "/7.jpg" in name else 1) else None

    account.proxy.fault = fault
    run(account, "s3://photos/busy", "--name", "busy", "--batch-size", 20)
    assert not any(row["error"] for row in table(account, "busy").values())
    assert account.proxy.calls.count("GET /photos/busy/7.jpg") >= 7
    assert len(names(account, "batches/busy/partial/")) == 1
    assert account.proxy.calls.count("GET /photos/busy/0.jpg") <= 3  # twice in the run, once for the sheet


def test_a_list_of_keys_may_hold_one_that_has_gone(account, tmp_path):
    upload(account, ["listed/1.jpg", "listed/2.jpg", "listed/3.jpg"], "others")
    (tmp_path / "keys.csv").write_text("listed/1.jpg\nlisted/gone.jpg\nelsewhere/1.jpg\nlisted/1.jpg\n")
    run(account, "s3://others/listed", "--keys", tmp_path / "keys.csv", "--name", "listed")
    errors = {key: row["error"] for key, row in table(account, "listed").items()}
    assert errors == {"listed/1.jpg": "", "listed/gone.jpg": "not_found"}


def test_an_inventory_says_which_versions_count(account):
    upload(account, ["stock/a b.jpg", "stock/2.jpg"], "others")
    rows = '"others","stock/a+b.jpg","v1","true","false"\n"others","stock/2.jpg","v1","false","false"\n'
    rows += '"others","stock/2.jpg","v2","true","true"\n'
    account.s3.put_object(Bucket="others", Key="inventory/data.csv.gz", Body=gzip.compress(rows.encode()))
    manifest = {"destinationBucket": "arn:aws:s3:::others", "fileFormat": "CSV"}
    manifest["fileSchema"] = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker"
    manifest["files"] = [{"key": "inventory/data.csv.gz"}]
    account.s3.put_object(Bucket="others", Key="inventory/manifest.json", Body=json.dumps(manifest).encode())
    run(account, "s3://others/stock/*", "--keys", "s3://others/inventory/manifest.json", "--name", "stock")
    assert list(table(account, "stock")) == ["stock/a b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["s3://photos/nothing"], "no photos below"),
        (["s3://photos/alb"], "A prefix is a folder"),
        (["s3://no-such-bucket/a"], "NoSuchBucket"),
        (["s3://photos/album", "--stack", "none"], "make deploy"),
        (["s3://photos/album", "--name", "none", "--resume"], "There is no run"),
        (["s3://photos/album", "--name", "none", "--stop"], "No run none is running"),
    ],
)
def test_what_cannot_run_is_refused_in_a_line(arguments, says, account):
    refused = run(account, *arguments, check=False)
    assert refused.returncode != 0
    assert says in refused.stderr.splitlines()[-1]


def test_photos_that_may_not_be_read_end_the_run_early(account, monkeypatch):
    monkeypatch.setitem(aws.FAULTS, "denied", (403, "AccessDenied"))
    upload(account, [f"secret/{number}.jpg" for number in range(20)])
    account.proxy.fault = lambda name, number: "denied" if name.startswith("GET /photos/secret/") else None
    ended = run(account, "s3://photos/secret", "--name", "secret", "--batch-size", 10, check=False)
    assert ended.returncode == 1
    assert "FAILED" in ended.stderr and "AccessDenied" in ended.stderr and "PHOTO_BUCKETS" in ended.stderr
    assert len(names(account, "batches/secret/results/")) == 0
    account.proxy.fault = lambda name, number: "denied" if name == "GET /photos/secret/7.jpg" else None
    run(account, "s3://photos/secret", "--name", "secret", "--resume")
    errors = {key: row["error"] for key, row in table(account, "secret").items() if row["error"]}
    assert errors == {"secret/7.jpg": "access_denied"}


def arrived(account):
    """Return {key: row} of the photos that arrived."""
    rows = [json.loads(get(account, name)) for name in names(account, "arrived/")]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def test_of_arriving_photos_only_the_bad_message_comes_back_and_can_be_put_back(account):
    bucket, sqs = account.outputs["Bucket"], account.client("sqs")
    queue, letters = account.outputs["Queue"], account.outputs["DeadLetters"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "2"})
    account.proxy.fault = lambda name, number: "broken" if "locked" in name and name.startswith("GET") else None
    keys = ["incoming/1.jpg", "incoming/a b+c.jpg", "incoming/locked.jpg"]
    upload(account, keys, bucket)
    account.s3.put_object(Bucket=bucket, Key="incoming/broken.jpg", Body=BROKEN["undecodable"])
    sqs.send_message(QueueUrl=queue, MessageBody="no event of S3")

    def dead():
        count = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["ApproximateNumberOfMessages"])
        return int(count["Attributes"]["ApproximateNumberOfMessages"])

    wait_for(lambda: dead() == 2, 180)
    rows = arrived(account)
    assert set(rows) == {"incoming/1.jpg", "incoming/a b+c.jpg", "incoming/broken.jpg"}
    assert rows["incoming/broken.jpg"]["error"] == "undecodable" and len(rows["incoming/1.jpg"]["scores"]) == 10
    reads = [call for call in account.proxy.calls if call == f"GET /{bucket}/incoming/1.jpg"]
    assert len(reads) == 1
    account.proxy.reset()
    assert "2 messages put back" in make("redrive", account)
    wait_for(lambda: "incoming/locked.jpg" in arrived(account))
    assert '"photos": 4' in make("arrivals", account)


def test_the_definition_is_one_that_aws_takes(tmp_path):
    """cfn-lint knows what a state machine may be: the template passes, and one without an end does not."""
    lint = ROOT / ".venv-aws/bin/cfn-lint"
    template = (FOLDER / "template.yaml").read_text()
    assert subprocess.run([lint, FOLDER / "template.yaml"], check=False).returncode == 0
    (tmp_path / "template.yaml").write_text(template.replace("                  End: true\n", "", 1))
    broken = subprocess.run([lint, tmp_path / "template.yaml"], check=False, text=True, stdout=subprocess.PIPE)
    assert broken.returncode != 0 and "E3601" in broken.stdout
