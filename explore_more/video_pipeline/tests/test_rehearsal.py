"""The stack in a stand-in for AWS on this machine: real events of S3, real containers, a real model behind Bedrock."""

import base64
import hashlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import FOLDER, ROOT, pack

pytest.importorskip("tests.harness", reason="the rehearsal of AWS is in the repository")

import boto3
import cv2
from sagemaker import SageMaker

import client
import models
from tests.harness import servers
from tests.harness.aws import running_aws
from tests.harness.containers import bridge_address, docker, find_base

NAME = "explore-more-video-pipeline"
SECONDS = 180


def make(verb, account):
    """Run a verb as its user does; return what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "MFLAGS" and not name.startswith("MAKE")}
    environ = {**environ, **account.environ, "BASE": account.base}
    return subprocess.run(["make", verb], cwd=FOLDER, env=environ, check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def account(tmp_path_factory, language_model):
    """An AWS account in which `make deploy` has run; at the end `make destroy` leaves nothing in it."""
    proxy = {"MINISTACK_BEDROCK_PROXY_URL": language_model, "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.5"}
    with running_aws(tmp_path_factory.mktemp("aws"), **proxy) as account:
        account.base = find_base("3.13")
        account.printed = make("deploy", account)
        outputs = account.aws("cloudformation", "describe-stacks", "--stack-name", NAME)["Stacks"][0]["Outputs"]
        account.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        name = account.outputs["Api"].split("//")[1].split(".")[0]
        account.api = f"{account.proxy.target}/_aws/execute-api/{name}/$default"
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
        account.session = boto3.Session(**keys)
        account.s3 = account.session.client("s3", endpoint_url=account.proxy.target)
        yield account
        make("destroy", account)
        assert account.aws("cloudformation", "describe-stacks")["Stacks"] == []
        assert account.aws("lambda", "list-functions")["Functions"] == []
        assert account.aws("s3api", "list-buckets")["Buckets"] == []


def configure(account, function, timeout=None, **environ):
    """Change a function's time limit or environment; return its old settings, for `restore`."""
    name = f"{NAME}-{function}"
    old = account.aws("lambda", "get-function-configuration", "--function-name", name)
    variables = {**old["Environment"]["Variables"], **environ}
    restore(account, {**old, "Timeout": timeout or old["Timeout"], "Environment": {"Variables": variables}})
    return old


def restore(account, settings):
    options = ["--timeout", settings["Timeout"], "--environment", json.dumps(settings["Environment"])]
    account.aws("lambda", "update-function-configuration", "--function-name", settings["FunctionName"], *options)


def ask(method, url, content=None, headers=None):
    """Return status and JSON of an answer."""
    data = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, headers or {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith(b"{") else body.decode()


def wait_until(account, identifier, ended=lambda answer: answer["state"] != "running"):
    """Return what GET answers for a video, once it has ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status, answer = ask("GET", f"{account.api}/videos/{identifier}")
        assert status == 200, answer
        if ended(answer):
            return answer
        time.sleep(0.3)
    raise AssertionError(answer)


def download(url):
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return answer.read()


def bucket_of(account, name):
    """Return the name of a bucket of the stack."""
    call = ["cloudformation", "describe-stack-resource", "--stack-name", NAME, "--logical-resource-id", name]
    return account.aws(*call)["StackResourceDetail"]["PhysicalResourceId"]


def list_keys(account, name, user="me"):
    """Return the keys of a user's objects in a bucket, with the time when each was written."""
    found = account.s3.list_objects_v2(Bucket=bucket_of(account, name)).get("Contents", [])
    return {each["Key"]: each["LastModified"] for each in found if f"/{user}/" in each["Key"]}


def event_of(account, name, key):
    """Return the event that S3 sends for an object."""
    return {"Records": [{"s3": {"bucket": {"name": bucket_of(account, name)}, "object": {"key": key}}}]}


def invoke(account, function, event):
    """Call a function and wait; raise AssertionError where it fails."""
    functions = account.session.client("lambda", endpoint_url=account.proxy.target)
    answer = functions.invoke(FunctionName=f"{NAME}-{function}", Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()


def put(account, user, data):
    """Upload a video by a presigned link; return its id."""
    return client.upload(account.api, data, user)


def announce(data, user="me"):
    """Return the request for a link to upload a video to."""
    return {"userId": user, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.fixture(scope="module")
def deployed(account):
    """The video that `make deploy` has taken an inventory of."""
    return (FOLDER / "build/deployed.mp4").read_bytes()


@pytest.fixture(scope="module")
def done(account, deployed):
    """What GET answers for that video, which has passed all stages."""
    status, answer = ask("POST", f"{account.api}/videos", announce(deployed))
    assert status == 202
    return wait_until(account, answer["id"])


@pytest.fixture(scope="module")
def short(video):
    return video.read_bytes()


def test_deploying_ends_with_an_inventory(account):
    assert "3 garments: " in account.printed


def test_a_video_ends_as_an_inventory_with_crops_and_an_annotated_video(account, done):
    assert done["state"] == "done"
    assert {stage["state"] for stage in done["stages"].values()} == {"done"}
    assert sum(done["inventory"]["counts"].values()) == len(done["garments"]) == 3
    for garment in done["garments"]:
        assert 0 <= garment["first"] < garment["last"] <= done["video"]["seconds"]
        assert download(garment["crop"]).startswith(b"\xff\xd8")
    assert download(done["annotated"]).startswith(b"\x1a\x45\xdf\xa3")
    assert done["models"] == {"tracker": "built in", "classifier": "built in"}


def test_the_sentences_are_the_models_own(done):
    """The template writes when the model does not; this fails when the model never does, or is ministack's mock."""
    assert done["inventory"]["written_by"]["by_model"] >= 1, done["inventory"]["written_by"]
    written = [garment["sentence"] for garment in done["garments"] if garment["written_by"] == "model"]
    assert written and not any("ministack" in sentence for sentence in written)


def test_bedrock_is_answered_by_the_real_model(account):
    bedrock = account.session.client("bedrock-runtime", endpoint_url=account.proxy.target)
    answer = bedrock.converse(
        modelId="amazon.nova-lite-v1:0",
        messages=[{"role": "user", "content": [{"text": "Repeat: the quick brown fox"}]}],
        inferenceConfig={"temperature": 0, "maxTokens": 30},
    )
    text = answer["output"]["message"]["content"][0]["text"]
    assert "brown fox" in text and "mock" not in text


def test_the_same_video_is_one_job(account, done, deployed):
    before = list_keys(account, "Requests")
    assert ask("POST", f"{account.api}/videos", announce(deployed)) == (202, {"id": done["id"]})
    assert list_keys(account, "Requests") == before


def test_two_uploads_at_once_are_one_job(account):
    data = b"whatever it is"
    (_, first), (_, second) = (ask("POST", f"{account.api}/videos", announce(data, "twice")) for _ in range(2))
    statuses = [ask("PUT", each["upload"]["url"], data, each["upload"]["headers"])[0] for each in (first, second)]
    assert (first["id"], statuses) == (second["id"], [200, 412])


def test_an_upload_link_takes_the_announced_video_only(account):
    request = {"userId": "other", "size": 5, "sha256": "0" * 64}
    _, answer = ask("POST", f"{account.api}/videos", request)
    status, said = ask("PUT", answer["upload"]["url"], b"other", answer["upload"]["headers"])
    assert status == 400 and "BadDigest" in said
    assert ask("GET", f"{account.api}/videos/{answer['id']}")[0] == 404


def test_an_event_that_comes_twice_changes_nothing(account, done):
    before = [list_keys(account, name) for name in ("Tracks", "Recognised", "Results")]
    name = done["id"]
    invoke(account, "track", event_of(account, "Requests", f"requests/me/{name}.mp4"))
    invoke(account, "recognise", event_of(account, "Tracks", f"tracks/me/{name}.json"))
    detail = {"bucket": {"name": bucket_of(account, "Recognised")}, "object": {"key": f"recognised/me/{name}.json"}}
    invoke(account, "describe", {"detail": detail})
    assert [list_keys(account, name) for name in ("Tracks", "Recognised", "Results")] == before


def test_a_function_that_is_killed_in_the_middle_is_tried_again(account, short):
    """The video is sent in base64 here, elsewhere by a link."""
    request = {"userId": "killed", "file": base64.b64encode(short).decode()}
    status, answer = ask("POST", f"{account.api}/videos", request)
    assert status == 202, answer
    time.sleep(1)
    docker("kill", *containers_of(account, "track"))
    assert f"tracks/killed/{answer['id']}.json" not in list_keys(account, "Tracks", "killed")
    assert wait_until(account, answer["id"])["state"] == "done"
    assert ask("POST", f"{account.api}/videos", request) == (202, answer)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"no video", "unsupported_format"), (b"", "unsupported_format"), (b"\0\0\0\x18ftypmp42" * 9, "undecodable")],
)
def test_what_is_no_video_is_refused_at_once(account, data, code):
    request = {"userId": "me", "file": base64.b64encode(data).decode()}
    status, answer = ask("POST", f"{account.api}/videos", request)
    assert (status, answer["error"]["code"]) == (415 if code == "unsupported_format" else 422, code)


def test_an_uploaded_file_that_is_no_video_fails_with_a_sentence(account):
    answer = wait_until(account, put(account, "me", b"%PDF-1.7 no video"))
    assert answer["state"] == "failed"
    assert answer["stages"]["track"]["error"]["code"] == "unsupported_format"
    assert "MP4" in answer["stages"]["track"]["error"]["message"]
    assert answer["stages"]["recognise"] == {"state": "waiting"}


def test_a_broken_video_fails_with_a_sentence(account, short):
    answer = wait_until(account, put(account, "me", short[: len(short) // 2]))
    assert answer["stages"]["track"]["error"]["code"] == "undecodable"


def test_a_huge_file_is_refused(account):
    request = {"userId": "me", "size": 10**10, "sha256": "0" * 64}
    status, answer = ask("POST", f"{account.api}/videos", request)
    assert (status, answer["error"]["code"]) == (400, "invalid_size")
    assert "200,000,000" in answer["error"]["message"]


def test_an_event_that_fails_each_time_is_kept_and_told(account, short):
    """A stage without its bucket fails three times. Its event lies in the queue, and works once the fault is mended."""
    old = configure(account, "describe", RESULTS_BUCKET="no-such-bucket")
    try:
        identifier = put(account, "lost", short)
        answer = wait_until(account, identifier)
    finally:
        restore(account, old)
    assert answer["state"] == "failed"
    assert answer["stages"]["describe"]["error"]["code"] == "internal"
    assert "dead-letter queue" in answer["stages"]["describe"]["error"]["message"]
    assert {answer["stages"][name]["state"] for name in ("upload", "track", "recognise")} == {"done"}
    invoke(account, "describe", take_dead_letter(account)["requestPayload"])
    assert wait_until(account, identifier)["state"] == "done"


def take_dead_letter(account):
    """Return the event that lies in the dead-letter queue, and delete it."""
    sqs = account.session.client("sqs", endpoint_url=account.proxy.target)
    queue = account.outputs["DeadLetters"]
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])


def test_a_stage_that_is_ended_for_time_says_so(account, short):
    old = configure(account, "track", timeout=1)
    try:
        answer = wait_until(account, put(account, "slow", short))
    finally:
        restore(account, old)
    assert answer["stages"]["track"]["error"]["code"] == "timed_out"
    assert take_dead_letter(account)["requestContext"]["condition"] == "RetriesExhausted"


@pytest.fixture(scope="module")
def sagemaker(account):
    """The stand-in for SageMaker, which the functions find as they would any endpoint."""
    address = bridge_address(), servers.free_port()
    endpoint = {"AWS_ENDPOINT_URL_SAGEMAKER": "http://{}:{}".format(*address)}
    configure(account, "train-tracker", HYPERPARAMETERS='{"candidates": "2"}', **endpoint)
    configure(account, "train-classifier", **endpoint)
    with servers.running(SageMaker(address, account.s3)) as sagemaker:
        yield sagemaker


def wait_for_job(sagemaker, known):
    """Return the description of the training job that is not among those known, once it has ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        jobs = [job for name, job in list(sagemaker.jobs.items()) if name not in known]
        if jobs and jobs[0]["TrainingJobStatus"] != "InProgress":
            return jobs[0]
        time.sleep(0.3)
    raise AssertionError(jobs)


def read_model(account, job):
    """Return the files that a training job made."""
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    return models.unpack(account.s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def cut(path, target, frames):
    """Write the first frames of a labelled video to <target>.mp4, and what is seen in them to <target>.truth.json."""
    source, size = cv2.VideoCapture(str(path)), (640, 480)
    writer = cv2.VideoWriter(f"{target}.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 25, size)
    for _ in range(frames):
        writer.write(source.read()[1])
    writer.release()
    truth = json.loads(path.with_suffix(".truth.json").read_text())
    for track in truth["tracks"]:
        track["boxes"] = [box for box in track["boxes"] if box[0] < frames]
    truth["tracks"] = [track for track in truth["tracks"] if track["boxes"]]
    truth["video"].update(frames=frames, seconds=frames / 25)
    Path(f"{target}.truth.json").write_text(json.dumps(truth))


def test_labelled_videos_tune_the_tracker_and_a_failed_job_says_why(account, sagemaker, video, tmp_path):
    """One video is too few, so that the first job fails. The keys have characters that S3 encodes in its events."""
    bucket, names = account.outputs["Training"], ("rail one", "rail+two")
    for name, frames in zip(names, (75, 80)):
        cut(video, tmp_path / name, frames)
        known = list(sagemaker.jobs)
        for ending in (".mp4", ".truth.json"):
            account.s3.upload_file(str(tmp_path / name) + ending, bucket, f"tracker/{name}{ending}")
        job = wait_for_job(sagemaker, known)
        if name == names[0]:
            assert job["TrainingJobStatus"] == "Failed"
            assert "two labelled videos" in job["FailureReason"]
    assert job["TrainingJobStatus"] == "Completed", job
    files = read_model(account, job)
    report = json.loads(files["report.json"])
    assert report["task"] == "tracker" and report["accepted"] in (True, False) and report["held_out"] == 1
    assert json.loads(files["parameters.json"])["threshold"] > 0
    known = list(sagemaker.jobs)
    invoke(account, "train-tracker", event_of(account, "Training", "tracker/rail%2Btwo.truth.json"))
    assert list(sagemaker.jobs) == known


def test_a_batch_of_labelled_crops_trains_the_classifier(account, sagemaker):
    bucket, known = account.outputs["Training"], list(sagemaker.jobs)
    for path in sorted((ROOT / "tests/photos").glob("*/*.jpg")):
        key = f"classifier/{path.parent.name}/{path.stem}"
        account.s3.put_object(Bucket=bucket, Key=f"{key}.jpg", Body=path.read_bytes())
        mirrored = cv2.imencode(".jpg", cv2.flip(cv2.imread(str(path)), 1))[1].tobytes()
        account.s3.put_object(Bucket=bucket, Key=f"{key}-mirrored.jpg", Body=mirrored)
    assert list(sagemaker.jobs) == known
    account.s3.put_object(Bucket=bucket, Key="batches/first batch.json", Body=b"{}")
    job = wait_for_job(sagemaker, known)
    assert job["TrainingJobStatus"] == "Completed", job
    files = read_model(account, job)
    assert len(files["clothing_model.tflite"]) > 20_000_000
    assert json.loads(files["report.json"])["accepted"] in (True, False)


def test_a_new_model_is_taken_only_if_it_did_better(account, short):
    model = (ROOT / "clothing_model.tflite").read_bytes()
    bucket = account.outputs["Models"]
    for name, accepted in (("better", True), ("worse", False)):
        files = {"clothing_model.tflite": model, "report.json": json.dumps({"accepted": accepted}).encode()}
        account.s3.put_object(Bucket=bucket, Key=f"classifier/{name}/output/model.tar.gz", Body=pack(files))
        time.sleep(1.1)  # S3 tells when an object was written to the second
    account.s3.put_object(Bucket=bucket, Key="classifier/broken/output/model.tar.gz", Body=b"broken")
    configure(account, "recognise", COLD="start")
    answer = wait_until(account, put(account, "model", short))
    assert (answer["state"], answer["models"]["classifier"]) == ("done", "better")


def test_an_unknown_video_is_not_found(account):
    for name in ("none", "me-" + "0" * 32, "..", "me-%2E%2E"):
        status, answer = ask("GET", f"{account.api}/videos/{name}")
        assert (status, answer["error"]["code"]) == (404, "not_found")


def containers_of(account, function):
    """Return the containers of a function that are running."""
    running = json.loads(docker("inspect", *docker("ps", "--quiet").split()))
    named = f"AWS_LAMBDA_FUNCTION_NAME={NAME}-{function}"
    host = f"AWS_ENDPOINT_URL=http://{bridge_address()}:{account.registry.split(':')[1]}"
    return [each["Id"] for each in running if {named, host} <= set(each["Config"]["Env"])]
