"""The generator, the tracker, the recognition and the drawings."""

import ast
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import drawing
import generate_video
import recognition
import run
import tracking
import video
from errors import RequestError
from tracking import Parameters

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT, FPS = 320, 240, 25


def wall(seed=0):
    """Return a wall with some texture, float32."""
    grain = np.random.default_rng(seed).normal(130, 14, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.float32)
    return cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def film(path, draw, count=75, fps=FPS, size=(WIDTH, HEIGHT)):
    """Write a video whose frames are `draw(number)`, with some noise."""
    noise = np.random.default_rng(1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    for number in range(count):
        frame = draw(number)
        writer.write((frame + noise.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8))
    writer.release()
    return path


def with_garment(x, y=80, colour=(40, 60, 200), size=(60, 80)):
    """Return the wall with a striped garment at (x, y), which may lie outside of the frame."""
    frame = wall()
    left, right = max(0, round(x)), min(WIDTH, round(x) + size[0])
    if right > left:
        frame[y : y + size[1], left:right] = colour
        frame[y : y + size[1] : 8, left:right] = 230
    return frame


def same(one, other):
    """Return the intersection over union of two boxes [x, y, width, height]."""
    corners = [np.array([x, y, x + width, y + height], float) for x, y, width, height in (one, other)]
    return tracking.iou(*corners)


def follows(truth, tracks):
    """Return for each garment of a truth (id of the track that is on it longest, share of its frames)."""
    best = []
    for garment in truth["tracks"]:
        its = {frame: box for frame, *box in garment["boxes"]}
        hits = {
            track["id"]: sum(frame in its and same(its[frame], box) > 0.5 for frame, *box in track["boxes"])
            for track in tracks
        }
        number = max(hits, key=hits.get, default=None)
        best.append((number, hits.get(number, 0) / len(its)))
    return best


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    """A video of two garments of which one covers the other, and its truth."""
    path = tmp_path_factory.mktemp("crossing") / "video.mp4"
    return path, generate_video.generate("crossing", 4, path, garments=2)


@pytest.fixture(scope="module")
def found(crossing):
    return tracking.track(crossing[0])


def largest_overlap(one, other):
    """Return the largest share of the smaller of two true tracks that the other covers."""
    boxes = {frame: box for frame, *box in other["boxes"]}
    shares = [0.0]
    for frame, x, y, width, height in one["boxes"]:
        if frame in boxes:
            left, top, wide, high = boxes[frame]
            across = min(x + width, left + wide) - max(x, left)
            down = min(y + height, top + high) - max(y, top)
            shares.append(max(0, across) * max(0, down) / min(width * height, wide * high))
    return max(shares)


def test_crossing_garments_cover_half_of_each_other(crossing):
    assert largest_overlap(*crossing[1]["tracks"]) >= generate_video.OVERLAP


def test_separated_garments_never_touch(tmp_path):
    truth = generate_video.generate("separated", 2, tmp_path / "video.mp4", garments=2)
    assert [largest_overlap(a, b) for a in truth["tracks"] for b in truth["tracks"] if a is not b] == [0, 0]
    assert truth == json.loads((tmp_path / "video.truth.json").read_text())


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no folder with photos"):
        generate_video.generate("crossing", 1, tmp_path / "video.mp4", photos=tmp_path)


def test_garments_keep_their_track_through_an_overlap(crossing, found):
    best = follows(crossing[1], found["tracks"])
    assert len({number for number, _ in best}) == 2
    assert min(share for _, share in best) > 0.8
    assert len(found["tracks"]) == 2


def test_a_result_is_ready_for_json_and_has_a_box_for_each_frame(crossing, found):
    assert json.loads(json.dumps(found)) == found
    assert {key: found["video"][key] for key in ("width", "height", "frames")} == {
        key: crossing[1]["video"][key] for key in ("width", "height", "frames")
    }
    for track in found["tracks"]:
        frames = [frame for frame, *_ in track["boxes"]]
        assert frames == list(range(frames[0], frames[-1] + 1))
        assert track["first"] == pytest.approx(frames[0] / FPS, abs=0.02)
        assert track["last"] == pytest.approx(frames[-1] / FPS, abs=0.02)


def test_the_first_crop_is_of_the_middle_size(crossing, found):
    for views in tracking.crops(crossing[0], found["tracks"]).values():
        assert 1 <= len(views) <= 5
        areas = sorted(view.shape[0] * view.shape[1] for view in views)
        assert views[0].shape[0] * views[0].shape[1] == areas[len(areas) // 2]


def test_a_crop_is_red_where_the_garment_is(tmp_path):
    path = film(tmp_path / "red.mp4", lambda number: with_garment(-60 + 6 * number, colour=(20, 20, 220)))
    (track,) = tracking.track(path)["tracks"]
    red, _, blue = tracking.crops(path, [track])[track["id"]][0].mean((0, 1))
    assert red > blue + 50


def test_an_empty_room_has_no_garment_whatever_the_light_does(tmp_path):
    path = film(tmp_path / "room.mp4", lambda number: wall() * (1 + 0.25 * np.sin(number / 9)))
    assert tracking.track(path)["tracks"] == []


def test_a_hand_that_trembles_moves_no_garment(tmp_path):
    shifts = np.cumsum(np.random.default_rng(3).normal(0, 0.8, (75, 2)), 0)

    def draw(number):
        frame = with_garment(-60 + 6 * number)
        return cv2.warpAffine(
            frame, np.float32([[1, 0, shifts[number, 0]], [0, 1, shifts[number, 1]]]), (WIDTH, HEIGHT)
        )

    (track,) = tracking.track(film(tmp_path / "hand.mp4", draw))["tracks"]
    errors = [
        abs(x + width / 2 - (-30 + 6 * frame + shifts[frame, 0]))
        for frame, x, _, width, _ in track["boxes"]
        if 20 < frame < 50
    ]
    assert max(errors) < 6


def test_a_garment_that_lies_still_at_first_is_found_from_the_first_frame(tmp_path):
    path = film(
        tmp_path / "still.mp4", lambda number: with_garment(120 if number < 60 else 120 + 8 * (number - 60)), 100
    )
    (track,) = tracking.track(path)["tracks"]
    assert track["first"] == 0
    assert same(track["boxes"][0][1:], (120, 80, 60, 80)) > 0.8


def test_sixty_frames_a_second_take_no_more_looks(tmp_path, monkeypatch):
    path = film(tmp_path / "fast.mp4", lambda number: with_garment(-60 + 2.5 * number), 180, fps=60)
    looks = []
    step = tracking.Tracker.step
    monkeypatch.setattr(tracking.Tracker, "step", lambda self, *each: looks.append(each[0]) or step(self, *each))
    (track,) = tracking.track(path)["tracks"]
    assert len(looks) == 45
    assert same(track["boxes"][70][1:], (-60 + 2.5 * track["boxes"][70][0], 80, 60, 80)) > 0.8


def test_a_portrait_video_of_a_phone_is_upright(tmp_path):
    path = film(tmp_path / "phone.mp4", lambda number: with_garment(-60 + 6 * number))
    data = path.read_bytes()
    start = data.index(b"tkhd") + 4 + 40  # of the matrix, in version 0 of the box
    turn = b"".join(value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30))
    path.write_bytes(data[:start] + turn + data[start + 36 :])
    result = tracking.track(path)
    assert (result["video"]["width"], result["video"]["height"]) == (HEIGHT, WIDTH)
    width, height = result["tracks"][0]["boxes"][40][3:]
    assert (width, height) == pytest.approx((80, 60), abs=6)


BROKEN = {
    "empty": (b"", "unsupported_format", "empty"),
    "text": (b"not a video at all", "unsupported_format", "not a video"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/1.ts\n", "unsupported_format", "not a video"),
    "start of an MP4": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41", "undecodable", "broken"),
}


@pytest.mark.parametrize(("data", "code", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_video_is_refused_with_a_sentence(tmp_path, data, code, words):
    (tmp_path / "video.mp4").write_bytes(data)
    with pytest.raises(RequestError, match=words) as refused:
        tracking.track(tmp_path / "video.mp4")
    assert type(refused.value).__name__ == code


def test_a_video_that_was_not_uploaded_whole_is_refused(crossing, tmp_path):
    data = crossing[0].read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(RequestError):
        tracking.track(tmp_path / "half.mp4")


def test_a_video_that_is_too_long_is_refused(crossing, monkeypatch):
    monkeypatch.setattr(video, "MAX_SECONDS", 1)
    with pytest.raises(RequestError, match="1 seconds at most"):
        tracking.track(crossing[0])


def test_frames_that_are_too_large_are_refused(crossing, monkeypatch):
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    with pytest.raises(RequestError, match="1,000 pixels"):
        tracking.track(crossing[0])


ABSURD = [{"speed": 1}, {"threshold": -1}, {"threshold": float("nan")}, {"rate": "fast"}, {"patience": True}, [], None]


@pytest.mark.parametrize("values", ABSURD)
def test_absurd_parameters_are_refused(values):
    with pytest.raises(ValueError, match="must be"):
        Parameters.from_json(values)


def test_parameters_survive_json():
    assert Parameters.from_json(json.loads(json.dumps(Parameters(threshold=30).to_json()))) == Parameters(threshold=30)


def test_garments_are_recognised_by_several_views():
    photo = np.array(Image.open(ROOT / "tests/photos/pants/pants-1.jpg").convert("RGB"))
    result = recognition.recognise([photo, photo[:, ::-1]])
    assert result["class"] == "pants"
    assert result["sure"]
    assert sum(result["scores"].values()) == pytest.approx(1, abs=0.001)


def test_nothing_is_recognised_without_a_view():
    with pytest.raises(ValueError, match="at least one view"):
        recognition.recognise([])


def test_classes_and_calibration_are_those_of_the_classifier():
    handler = (ROOT / "lambda_function.py").read_text()
    assert ast.literal_eval(re.search(r"^CLASSES = (.*)$", handler, re.M)[1]) == recognition.CLASSES
    measured = json.loads((ROOT / "metrics.json").read_text())
    assert (measured["temperature"], measured["not sure below"]) == (recognition.TEMPERATURE, recognition.NOT_SURE)


def test_the_annotated_video_is_vp8_and_as_long(crossing, found, tmp_path):
    out = tmp_path / "annotated.webm"
    drawing.annotate(crossing[0], found["tracks"], {1: "dress"}, out)
    data = out.read_bytes()
    assert data.startswith(b"\x1a\x45\xdf\xa3")
    assert b"V_VP8" in data
    frames = sum(1 for _ in video.read_frames(out))
    assert frames / drawing.FPS == pytest.approx(crossing[1]["video"]["seconds"], abs=0.2)


def test_the_timeline_has_a_row_for_each_garment(crossing, found, tmp_path):
    crops = tracking.crops(crossing[0], found["tracks"])
    drawing.timeline(found["tracks"], {1: "dress", 2: "hat"}, crops, tmp_path / "timeline.png")
    picture = np.array(Image.open(tmp_path / "timeline.png"))
    assert picture.shape[0] == 2 * drawing.ROW + drawing.AXIS
    for row, track in enumerate(found["tracks"]):
        strip = picture[row * drawing.ROW : (row + 1) * drawing.ROW].reshape(-1, 3)
        assert (strip == drawing.colour(track["id"])).all(1).any()


def test_a_timeline_without_garments_says_so(tmp_path):
    drawing.timeline([], {}, {}, tmp_path / "timeline.png")
    assert np.array(Image.open(tmp_path / "timeline.png").convert("L")).min() < 100


def test_the_whole_chain_writes_an_inventory(crossing, tmp_path, monkeypatch, capsys):
    shutil.copy(crossing[0], tmp_path / "video.mp4")
    monkeypatch.setattr("sys.argv", ["run.py", str(tmp_path / "video.mp4"), "--out", str(tmp_path)])
    run.main()
    inventory = json.loads((tmp_path / "inventory.json").read_text())
    assert len(inventory["garments"]) == 2
    assert inventory["summary"] in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"annotated.webm", "timeline.png"}
