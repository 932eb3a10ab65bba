"""Runs over a folder, on this machine."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import BROKEN, DEADLY, FAULT, FOLDER, ROOT, classify, rows_of

from batch import OutOfTime, Worker, run_batch, unpack
from classify import cut
from storage import Folder


def test_each_photo_has_one_row_with_its_class_or_a_code(folder, tmp_path):
    done = classify(folder, "--output", tmp_path / "run", "--name", "first")
    rows = rows_of((tmp_path / "run/table.csv").read_bytes())
    assert len(rows) == 15
    for key, row in rows.items():
        if "/" in key:
            assert (row["class"], row["error"]) == (key.split("/")[0], "")
            assert 0.3 < float(row["probability"]) <= 1
        else:
            assert (row["class"], row["error"]) == ("", key.removesuffix(".jpg"))
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["photos"], summary["classified"]) == (15, 12)
    assert summary["failures"] == dict.fromkeys(sorted(BROKEN), 1)
    assert (tmp_path / "run/sheet.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_same_name_does_not_run_twice(folder, tmp_path):
    output = ["--output", tmp_path / "run", "--name", "once"]
    classify(folder, *output)
    results = sorted((tmp_path / "run/batches/once/results").iterdir())
    before = [path.stat().st_mtime_ns for path in results]
    again = classify(folder, *output)
    assert "nothing runs twice" in again.stderr
    assert [path.stat().st_mtime_ns for path in results] == before
    other = classify(ROOT / "tests/photos/hat", *output, check=False)
    assert other.returncode != 0 and "belongs to a run over" in other.stderr


def test_a_run_that_was_killed_goes_on_without_doing_photos_again(tmp_path):
    subprocess.run([FOLDER / ".venv/bin/python", FOLDER / "make_photos.py", tmp_path / "photos", "120"], check=True)
    command = [FOLDER / "classify.sh", tmp_path / "photos", "--output", tmp_path / "run", "--name", "killed"]
    run = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    results = tmp_path / "run/batches/killed/results"
    while not results.exists() or len(list(results.glob("*.gz"))) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = {path: path.stat().st_mtime_ns for path in results.glob("*.gz")}
    assert 2 <= len(done) < 8
    refused = classify(*command[1:], check=False)
    assert refused.returncode != 0 and "--resume" in refused.stderr
    classify(*command[1:], "--resume")
    assert {path: path.stat().st_mtime_ns for path in done} == done
    rows = rows_of((tmp_path / "run/table.csv").read_bytes())
    assert len(rows) == 120 and not any(row["error"] for row in rows.values())


@pytest.mark.parametrize("how", ["beside others", "alone"])
def test_a_photo_that_kills_the_process_is_a_row(how, folder, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/image_source.py").write_text((ROOT / "image_source.py").read_text() + FAULT)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (folder / "deadly.jpg").write_bytes(DEADLY)
    keys = ["deadly.jpg"] if how == "alone" else ["hat/1.jpg", "deadly.jpg", *Folder(folder).keys()]
    keys = [key for key in dict.fromkeys(keys) if (folder / key).exists()]
    store = Folder(tmp_path / "store")
    with Worker() as worker:
        run_batch(store, Folder(folder), {"number": 0, "keys": keys}, worker.classify)
    rows, _, _ = unpack(store.get("results/0000000.jsonl.gz"))
    assert [row["key"] for row in rows] == keys
    died = [row["key"] for row in rows if row.get("error") == "function_died"]
    assert died == ["deadly.jpg"]
    assert how == "alone" or sum("scores" in row for row in rows) == 12


def test_a_batch_goes_on_where_its_time_was_over(folder, tmp_path):
    store, place = Folder(tmp_path / "store"), Folder(folder)
    keys = place.keys()
    for _ in keys[1:]:
        with pytest.raises(OutOfTime):
            run_batch(store, place, {"number": 3, "keys": keys}, remaining=lambda: 0)
        assert store.names("results/") == []
    run_batch(store, place, {"number": 3, "keys": keys}, remaining=lambda: 0)
    result = store.get("results/0000003.jsonl.gz")
    assert [row["key"] for row in unpack(result)[0]] == keys
    run_batch(store, place, {"number": 3, "keys": keys}, classify=None)  # done before: nothing is classified
    assert store.get("results/0000003.jsonl.gz") == result


def test_a_photo_that_has_gone_is_a_row(folder, tmp_path):
    store = Folder(tmp_path / "store")
    run_batch(store, Folder(folder), {"number": 0, "keys": ["gone.jpg", "hat/gone.jpg", "hat"]})
    rows, _, _ = unpack(store.get("results/0000000.jsonl.gz"))
    assert [row["error"] for row in rows] == ["not_found"] * 3


@pytest.mark.parametrize("key", ["a.jpg", "🎩" * 250, '"' * 1000])
def test_batches_are_small_enough_for_step_functions_and_leave_nothing_out(key):
    keys = [f"{number}{key}" for number in range(1234)]
    batches = cut(keys, 500)
    assert [key for batch in batches for key in batch["keys"]] == keys
    assert [batch["number"] for batch in batches] == list(range(len(batches)))
    assert all(1 <= len(batch["keys"]) <= 500 and len(json.dumps(batch)) < 240_000 for batch in batches)


def test_files_with_odd_names_are_classified(tmp_path):
    photo = (ROOT / "tests/photos/hat/hat-1.jpg").read_bytes()
    names = ["a b+c%20.jpg", 'quote"comma,.jpg', "line\nbreak.jpg", "шапка 🎩.jpg", "=1+1.jpg", "no-utf8-\udcff.jpg"]
    (tmp_path / "photos").mkdir()
    for name in names:
        with open(tmp_path / "photos" / name, "wb") as file:
            file.write(photo)
    classify(tmp_path / "photos", "--output", tmp_path / "run")
    rows = rows_of((tmp_path / "run/table.csv").read_bytes())
    assert set(rows) == set(names)
    assert {row["class"] for row in rows.values()} == {"hat"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "is no folder"),
        ([FOLDER / "requirements/none"], "is no folder"),
        (["photos", "--name", "a/b"], "letters, digits"),
        (["photos", "--resume"], "--name"),
        (["photos", "--keys", "list.csv"], "in S3"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(arguments, says):
    refused = classify(*arguments, check=False)
    assert refused.returncode != 0
    assert says in refused.stderr.splitlines()[-1]


def test_an_empty_folder_is_refused(tmp_path):
    refused = classify(tmp_path, "--output", tmp_path / "run", check=False)
    assert refused.returncode != 0 and "no photos below" in refused.stderr
