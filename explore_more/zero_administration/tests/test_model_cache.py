"""Models from S3, from a hub's cache and from a folder. S3 is a stand-in, and the hub is offline."""

import io
import json
import shutil
import sys
import threading
import zipfile
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
from conftest import FOLDER

import model_cache
from answers import RequestError
from model_cache import find_model

SMALL = FOLDER / "models/small"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(model_cache, "CACHE", tmp_path)
    monkeypatch.setattr(model_cache, "POLL_SECONDS", 0.01)
    return tmp_path


class Storage:
    """A stand-in for S3: it returns one archive and records the keys; with `wait`, it pauses midway."""

    def __init__(self, wait=None):
        self.keys, self.wait, self.started = [], wait, threading.Event()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in SMALL.iterdir():
                archive.write(path, path.name)
        self.archive = buffer.getvalue()

    def download_fileobj(self, bucket, key, file):
        self.keys.append(f"{bucket}/{key}")
        file.write(self.archive[:1000])
        self.started.set()
        if self.wait:
            self.wait.wait(30)
        file.write(self.archive[1000:])


@pytest.fixture
def storage(monkeypatch):
    def install(**options):
        storage = Storage(**options)
        monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(client=lambda name: storage))
        return storage

    return install


def use(monkeypatch, address):
    monkeypatch.setattr(model_cache, "MODELS", {"zh-en": address})


def test_without_a_setting_the_small_model_of_this_folder_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(model_cache, "FOLDER", tmp_path)
    shutil.copytree(SMALL, tmp_path / "models/small")
    assert find_model("zh-en") == tmp_path / "models/small"
    shutil.copytree(SMALL, tmp_path / "build/models/zh-en")
    assert find_model("zh-en") == tmp_path / "build/models/zh-en"


def test_a_model_is_copied_from_s3_once(monkeypatch, storage, cache):
    use(monkeypatch, "s3://bucket/abc.zip")
    storage = storage()
    for _ in range(2):
        folder = find_model("zh-en")
    assert storage.keys == ["bucket/abc.zip"]
    assert folder == cache / "zh-en-abc"
    for path in SMALL.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_newer_model_replaces_the_older_one(monkeypatch, storage, cache):
    storage()
    for key in ("old", "new"):
        use(monkeypatch, f"s3://bucket/{key}.zip")
        find_model("zh-en")
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["zh-en-new"]


def test_of_many_calls_one_copies_and_the_others_wait(monkeypatch, storage):
    use(monkeypatch, "s3://bucket/abc.zip")
    go_on = threading.Event()
    storage = storage(wait=go_on)
    found = []
    threads = [threading.Thread(target=lambda: found.append(find_model("zh-en"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    storage.started.wait(30)
    assert found == []
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 5
    assert len(storage.keys) == 1


def test_who_waits_long_is_told_to_ask_again(monkeypatch, storage):
    use(monkeypatch, "s3://bucket/abc.zip")
    monkeypatch.setattr(model_cache, "WAIT_SECONDS", 0)
    go_on = threading.Event()
    storage = storage(wait=go_on)
    first = threading.Thread(target=find_model, args=("zh-en",))
    first.start()
    storage.started.wait(30)
    with pytest.raises(RequestError, match="ask again") as raised:
        find_model("zh-en")
    assert (type(raised.value).__name__, raised.value.status) == ("model_not_ready", 503)
    go_on.set()
    first.join(30)
    assert find_model("zh-en").exists()


def test_a_copy_that_broke_off_is_made_again(monkeypatch, storage):
    use(monkeypatch, "s3://bucket/abc.zip")
    broken = storage()
    broken.archive = broken.archive[:-5000]
    with pytest.raises(zipfile.BadZipFile):
        find_model("zh-en")
    storage()
    assert model_cache.is_complete(find_model("zh-en"))


def test_an_archive_without_a_model_is_no_model(monkeypatch, storage):
    use(monkeypatch, "s3://bucket/abc.zip")
    storage = storage()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.bin", b"")
    storage.archive = buffer.getvalue()
    for _ in range(2):
        with pytest.raises(RequestError, match="no model"):
            find_model("zh-en")


@pytest.fixture
def hub(cache, monkeypatch):
    """The small model in a cache like that of the hub's client, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = cache / "hub/models--owner--name"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(SMALL, repository / "blobs")
    snapshot.mkdir()
    for path in (repository / "blobs").iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0" * 40)
    return snapshot


def test_a_model_in_the_hubs_cache_is_found_without_a_network(monkeypatch, hub, cache):
    use(monkeypatch, "hub:owner/name")
    assert find_model("zh-en") == hub
    own = huggingface_hub.snapshot_download("owner/name", cache_dir=cache / "hub", local_files_only=True)
    assert own == str(hub)


def test_a_model_that_is_not_in_the_cache_is_told_in_a_sentence(monkeypatch, hub):
    use(monkeypatch, "hub:owner/other")
    with pytest.raises(RequestError, match="owner/other is not on the file system") as raised:
        find_model("zh-en")
    assert type(raised.value).__name__ == "model_missing"


def test_a_folder_that_is_not_there_is_told_in_a_sentence(monkeypatch, cache):
    use(monkeypatch, str(cache / "nothing"))
    with pytest.raises(RequestError, match="make models"):
        find_model("zh-en")


def test_the_committed_model_is_small_and_knows_both_ways():
    assert model_cache.is_complete(SMALL)
    assert sum(path.stat().st_size for path in SMALL.iterdir()) < 10_000_000
    assert {">>cmn_Hans<<", ">>eng<<"} < set(json.loads((SMALL / "shared_vocabulary.json").read_text()))
