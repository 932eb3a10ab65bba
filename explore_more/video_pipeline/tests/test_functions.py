"""The functions on folders of this machine instead of S3, and what they refuse."""

import base64
import json

import pytest
from conftest import pack

import aws
import jobs
import models
import results
import stages
import storage
import track
import upload
from errors import ERRORS, RequestError

IDENTIFIER = jobs.identify("anna", "0" * 64)


@pytest.fixture(autouse=True)
def store(tmp_path):
    """An empty store; `written` lists what was put into it."""
    written = []
    store = storage.Folder(tmp_path, lambda bucket, key: written.append((bucket, key)))
    store.all = written
    storage.use(store)
    return store


def post(request):
    return upload.lambda_handler({"body": request if isinstance(request, str) else json.dumps(request)}, None)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("{", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "invalid_json"),
        ("", "invalid_user"),
        ({"file": "AAAA"}, "invalid_user"),
        ({"userId": "", "file": "AAAA"}, "invalid_user"),
        ({"userId": "../etc", "file": "AAAA"}, "invalid_user"),
        ({"userId": "anna/berta", "file": "AAAA"}, "invalid_user"),
        ({"userId": "anna\n", "file": "AAAA"}, "invalid_user"),
        ({"userId": "a" * 65, "file": "AAAA"}, "invalid_user"),
        ({"userId": 5, "file": "AAAA"}, "invalid_user"),
        ({"userId": "anna"}, "missing_input"),
        ({"userId": "anna", "file": "AAAA", "size": 3}, "ambiguous_input"),
        ({"userId": "anna", "file": 5}, "invalid_base64"),
        ({"userId": "anna", "file": "A A"}, "invalid_base64"),
        ({"userId": "anna", "file": "A" * 6_000_000}, "too_large"),
        ({"userId": "anna", "file": ""}, "unsupported_format"),
        ({"userId": "anna", "file": base64.b64encode(b"#EXTM3U\nfile:///etc/passwd\n").decode()}, "unsupported_format"),
        ({"userId": "anna", "size": 0, "sha256": "0" * 64}, "invalid_size"),
        ({"userId": "anna", "size": True, "sha256": "0" * 64}, "invalid_size"),
        ({"userId": "anna", "size": 1.5, "sha256": "0" * 64}, "invalid_size"),
        ({"userId": "anna", "size": 200_000_001, "sha256": "0" * 64}, "invalid_size"),
        ({"userId": "anna", "size": 5}, "invalid_sha256"),
        ({"userId": "anna", "size": 5, "sha256": "0" * 63 + "\n"}, "invalid_sha256"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_a_sentence(request_, code, store):
    answer = post(request_)
    error = json.loads(answer["body"])["error"]
    assert (error["code"], answer["statusCode"]) == (code, ERRORS[code].status)
    assert error["message"].endswith(".") and store.all == []


def test_a_fault_of_ours_is_not_explained_to_the_caller(monkeypatch):
    monkeypatch.setattr(upload, "identify", None)
    answer = post({"userId": "anna", "size": 5, "sha256": "0" * 64})
    assert answer["statusCode"] == 500
    assert json.loads(answer["body"])["error"]["message"] == "The function failed; its log says why."


def test_a_video_too_long_is_refused(video, monkeypatch):
    monkeypatch.setattr(upload, "MAX_SECONDS", 2)
    answer = post({"userId": "anna", "file": base64.b64encode(video.read_bytes()).decode()})
    assert json.loads(answer["body"])["error"] == {
        "code": "too_large", "message": "A video may last 2 seconds at most; cut it.",
    }  # fmt: skip


def test_the_same_video_is_another_job_for_another_user(video, store):
    file = base64.b64encode(video.read_bytes()).decode()
    answers = [post({"userId": user, "file": file})["body"] for user in ("anna", "anna", "berta")]
    assert answers[0] == answers[1] != answers[2]
    assert len(store.all) == 2


def test_a_huge_object_is_not_read(store, monkeypatch):
    """Whoever may write into the bucket can put there what no link allows."""
    monkeypatch.setattr(track, "MAX_BYTES", 10)
    key = jobs.make_key("requests", IDENTIFIER, ".mp4")
    store.write("requests", key, b"more than ten bytes")
    monkeypatch.setattr(store, "download", None)
    assert stages.run_once("track", track.run, "requests", key, {}) == "refused"
    _, answer = results.answer({"pathParameters": {"id": IDENTIFIER}}, {})
    assert answer["stages"]["track"]["error"] == {
        "code": "too_large", "message": "The video has 19 bytes; 10 are allowed.",
    }  # fmt: skip


def test_keys_are_decoded_where_s3_encodes_them():
    record = {"bucket": {"name": "b"}, "object": {"key": "tracker/rail+one%2Btwo+%C3%BC.truth.json"}}
    assert stages.read_event({"Records": [{"s3": record}]}) == [("b", "tracker/rail one+two ü.truth.json")]
    detail = {"bucket": {"name": "b"}, "object": {"key": "a+b%20c"}}
    assert stages.read_event({"detail": detail}) == [("b", "a+b%20c")]


@pytest.mark.parametrize("key", ["requests/x.mp4", "requests/anna/x.mp4", f"requests/b/{IDENTIFIER}.mp4", "a/b/c/d"])
def test_a_key_of_no_job_is_refused(key):
    with pytest.raises(RequestError):
        jobs.parse_key(key)


def test_a_key_and_its_identifier_belong_together():
    assert jobs.parse_key(jobs.make_key("tracks", IDENTIFIER, ".json")) == IDENTIFIER
    assert jobs.make_key("tracks", IDENTIFIER, ".json") == f"tracks/anna/{IDENTIFIER}.json"


def test_a_write_depends_on_what_was_read(store):
    assert storage.write_json("b", "k", 1, previous=None)
    assert not storage.write_json("b", "k", 2, previous=None)
    _, etag = storage.read_json("b", "k")
    assert storage.write_json("b", "k", 3, previous=etag)
    assert not storage.write_json("b", "k", 4, previous=etag)
    assert storage.read_json("b", "k")[0] == 3


def test_an_upload_link_leads_to_the_buckets_region_and_holds_its_conditions(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws.client.cache_clear()
    url = storage.S3().upload_link("bucket", "key", 5, "0" * 64)["url"]
    aws.client.cache_clear()
    assert url.startswith("https://bucket.s3.eu-west-1.amazonaws.com/key?")
    assert "SignedHeaders=content-length%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256" in url


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Task timed out after 900.00 seconds", "timed_out"),
        ("RequestId: 1 Error: Runtime exited with error: signal: killed", "out_of_memory"),
        ("list index out of range", "internal"),
    ],
)
def test_a_failure_that_a_stage_could_not_tell_is_told(store, reason, code):
    key = jobs.make_key("requests", IDENTIFIER, ".mp4")
    store.write("requests", key, b"a video")
    message = {
        "requestContext": {"functionArn": "arn:aws:lambda:eu-west-1:0:function:any-track:$LATEST"},
        "requestPayload": {"Records": [{"s3": {"bucket": {"name": "requests"}, "object": {"key": key}}}]},
        "responsePayload": {"errorMessage": reason},
    }
    results.lambda_handler({"Records": [{"Sns": {"Message": json.dumps(message)}}]}, None)
    _, answer = results.answer({"pathParameters": {"id": IDENTIFIER}}, {})
    assert (answer["state"], answer["stages"]["track"]["error"]["code"]) == ("failed", code)


@pytest.mark.parametrize(
    "report", [b"", b"{", b"[]", b"{}", b'{"accepted": "true"}', b'{"accepted": 1}', b'{"accepted": false}']
)
def test_a_model_is_taken_only_where_its_report_accepts_it(store, report):
    key = "tracker/job/output/model.tar.gz"
    store.write("models", key, pack({"./report.json": report, "./parameters.json": b"{}"}))
    assert models.find("tracker", "parameters.json") == (None, None)
    store.write("models", key, pack({"./report.json": b'{"accepted": true}', "./parameters.json": b"{}"}))
    assert models.find("tracker", "parameters.json") == ("job", b"{}")
