"""What the training image runs: HOTA, the tuning of both, and the conventions of SageMaker."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(FOLDER / "training"))

import train  # noqa: E402
import tune_classifier  # noqa: E402
import tune_tracker  # noqa: E402
from hota import hota  # noqa: E402

import recognition  # noqa: E402
from tracking import Parameters  # noqa: E402

PHOTOS = ROOT / "tests/photos"


def path_of_boxes(frames, x=0):
    return {"boxes": [[frame, x + 3 * frame, 10, 40, 60] for frame in frames]}


def test_hota_of_the_truth_is_one_and_of_nothing_is_zero():
    truth = [path_of_boxes(range(20)), path_of_boxes(range(5, 15), 200)]
    assert hota(truth, truth, 20) == pytest.approx(1)
    assert hota(truth, [], 20) == 0


def test_hota_of_a_track_that_breaks_in_two_is_the_root_of_a_half():
    halves = [path_of_boxes(range(10)), path_of_boxes(range(10, 20))]
    assert hota([path_of_boxes(range(20))], halves, 20) == pytest.approx(0.5**0.5)


def test_hota_falls_with_false_tracks():
    truth = [path_of_boxes(range(20))]
    assert hota(truth, [*truth, path_of_boxes(range(20), 300)], 20) == pytest.approx(0.5**0.5)


def write_video(folder, name, seed):
    """Write a video of one pale garment that passes a wall, and its truth."""
    dice = np.random.default_rng(seed)
    room = cv2.resize(dice.normal(120, 6, (60, 80, 3)).astype(np.float32), (320, 240), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    boxes, speed, y = [], 5 + seed, 60 + 10 * seed
    for frame in range(70):
        x = -60 + speed * frame
        picture = room.copy()
        left, right = max(0, x), min(320, x + 60)
        if right > left:
            picture[y : y + 90, left:right] += 45
        if right - left >= 15:
            boxes.append([frame, left, y, right - left, 90])
        writer.write((picture + dice.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8))
    writer.release()
    truth = {"video": {"frames": 70}, "tracks": [{"id": 1, "boxes": boxes}]}
    (folder / f"{name}.truth.json").write_text(json.dumps(truth))


@pytest.fixture
def machine(tmp_path):
    """The folders that SageMaker gives to a training container."""
    for folder in ("input/data/training", "input/data/current", "input/config"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def configure(machine, **options):
    (machine / "input/config/hyperparameters.json").write_text(json.dumps(options))


def test_parameters_that_see_nothing_are_tuned_until_they_do(machine):
    data = machine / "input/data/training"
    for number in range(2):
        write_video(data, f"video-{number}", number)
    bad = Parameters(threshold=50.0)
    (machine / "input/data/current/parameters.json").write_text(json.dumps(bad.to_json()))
    configure(machine, task="tracker", candidates="6")
    report = train.train(machine)
    assert report["accepted"] is True
    assert report["new"] > report["current"]
    tuned = Parameters.from_json(json.loads((machine / "model/parameters.json").read_text()))
    assert tuned.threshold < bad.threshold
    assert json.loads((machine / "model/report.json").read_text()) == report


def test_parameters_that_get_no_better_are_not_accepted(machine, monkeypatch):
    for number in range(2):
        write_video(machine / "input/data/training", f"video-{number}", number)
    monkeypatch.setattr(tune_tracker, "score", lambda labelled, parameters: 0.9)
    assert train.train(machine)["accepted"] is False


def copy_photos(folder, names=lambda name: name):
    """Write two views of each photo in tests/photos, into a folder that `names` gives its class."""
    for path in sorted(PHOTOS.glob("*/*.jpg")):
        target = folder / names(path.parent.name)
        target.mkdir(exist_ok=True)
        photo = Image.open(path).convert("RGB")
        for number, view in enumerate((photo, ImageOps.mirror(photo))):
            view.resize((224, 299)).save(target / f"{path.stem}-{number}.jpg")


def test_the_last_layer_is_read_and_written(tmp_path):
    layer = tune_classifier.Layer(recognition.MODEL)
    weights, bias = layer.read()
    assert weights.shape == (10, 2048)
    (tmp_path / "body.tflite").write_bytes(layer.without())
    turned = tmp_path / "turned.tflite"
    turned.write_bytes(layer.write(weights[::-1], bias[::-1]))
    photos = [(PHOTOS / "hat/hat-1.jpg", 1), (PHOTOS / "dress/dress-1.jpg", 0)]
    features, _ = tune_classifier.answers(recognition.open_model(tmp_path / "body.tflite"), photos)
    logits, _ = tune_classifier.answers(recognition.open_model(recognition.MODEL), photos)
    backward, _ = tune_classifier.answers(recognition.open_model(turned), photos)
    assert np.abs(features @ weights.T + bias - logits).max() < 0.1
    assert np.abs(backward[:, ::-1] - logits).max() < 0.1
    assert turned.stat().st_size == recognition.MODEL.stat().st_size


def test_a_classifier_is_trained_and_its_file_loads(machine, monkeypatch):
    monkeypatch.setattr(tune_classifier, "KNOWN", PHOTOS)
    copy_photos(machine / "input/data/training")
    report = train.train(machine)
    assert report["task"] == "classifier"
    assert report["held_out"] == 10
    assert report["trained_on"] == 30
    assert report["loss"]["new"] < report["loss"]["current"]
    assert report["accepted"] is True
    photo = np.array(Image.open(PHOTOS / "shoes/shoes-1.jpg").convert("RGB"))
    model = recognition.open_model(machine / "model/clothing_model.tflite")
    assert recognition.recognise([photo], model)["class"] == "shoes"


def test_a_classifier_that_forgets_what_it_knew_is_not_accepted(machine, monkeypatch):
    monkeypatch.setattr(tune_classifier, "KNOWN", PHOTOS)
    monkeypatch.setattr(tune_classifier, "PULLS", (0.0001,))
    swap = {"dress": "hat", "hat": "dress", "pants": "shoes", "shoes": "pants"}
    copy_photos(machine / "input/data/training", lambda name: swap.get(name, name))
    report = train.train(machine)
    assert report["new"] > report["current"]  # by its labels, which are wrong
    assert report["known"]["new"] < report["known"]["current"]
    assert report["accepted"] is False


def test_a_tuned_file_runs_on_the_oldest_runtime(tmp_path):
    python = ROOT / ".venv-3.8/bin/python"
    if not python.exists():
        pytest.skip("no tflite-runtime 2.7.0 in .venv-3.8")
    layer = tune_classifier.Layer(recognition.MODEL)
    weights, bias = layer.read()
    path = tmp_path / "model.tflite"
    path.write_bytes(layer.write(1.2 * weights, bias))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from interpreter import load_model; import numpy\n"
        "x = numpy.linspace(-1, 1, 268203, dtype=numpy.float32).reshape(1, 299, 299, 3)\n"
        "print(load_model(sys.argv[2])(x)[0].tolist())"
    )
    answers = [
        json.loads(subprocess.check_output([each, "-c", code, ROOT, path], text=True).splitlines()[-1])
        for each in (python, sys.executable)
    ]
    assert np.ptp(answers[1]) > 1
    assert np.abs(np.subtract(*answers)).max() < 0.1 * np.ptp(answers[1])


def nothing(data):
    pass


def one_video(data):
    write_video(data, "video", 0)


def labels_alone(data):
    (data / "video.truth.json").write_text("{}")


def labels_that_are_no_truth(data):
    write_video(data, "video", 0)
    (data / "video.truth.json").write_text('{"tracks": 3}')


def unknown_class(data):
    (data / "socks").mkdir()


def few_photos(data):
    shutil.copytree(PHOTOS / "hat", data / "hat")


def broken_photo(data):
    copy_photos(data)
    (data / "hat/broken.jpg").write_bytes(b"no photo")


REFUSED = [
    (nothing, {}, "is empty"),
    (one_video, {}, "At least two labelled videos"),
    (labels_alone, {}, "video.mp4 is not beside it"),
    (labels_that_are_no_truth, {}, "must hold video and tracks"),
    (unknown_class, {}, "socks: is no class"),
    (few_photos, {}, "At least 20 labelled photos"),
    (broken_photo, {}, "hat/broken.jpg: is not a photo"),
    (one_video, {"task": "drummer"}, "must be tracker or classifier"),
]


@pytest.mark.parametrize(("prepare", "options", "words"), REFUSED, ids=[each[0].__name__ for each in REFUSED])
def test_data_that_do_not_do_are_refused_with_a_sentence(machine, prepare, options, words):
    prepare(machine / "input/data/training")
    configure(machine, **options)
    with pytest.raises(ValueError, match=words):
        train.train(machine)


def test_a_failure_is_written_where_sagemaker_looks(machine):
    paths = os.pathsep.join(map(str, (FOLDER / "training", FOLDER, ROOT)))
    environ = {**os.environ, "SAGEMAKER_ROOT": str(machine), "PYTHONPATH": paths}
    command = [sys.executable, FOLDER / "training/train.py", "train"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (machine / "output/failure").read_text() in done.stderr
    assert "is empty" in (machine / "output/failure").read_text()
    assert "Traceback" not in done.stderr
