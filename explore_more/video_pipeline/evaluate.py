"""Measure the tracker and the recognition on generated videos, by the metrics of `trackers`, and write metrics.json.

    python evaluate.py --photos clothing-dataset-small/test

Ten seeds that no tuning saw make a video of each kind. ByteTrack, on the boxes of OpenCV's MOG2, stands beside. Both
have boxes from where a quarter of a garment is inside the frame, as the truth does.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import supervision
from tqdm import tqdm
from trackers import ByteTrackTracker
from trackers.eval import box_iou, compute_clear_metrics, compute_hota_metrics, compute_identity_metrics

import drawing
import generate_video
import recognition
import tracking
from video import read_frames

SEEDS = range(101, 111)  # tuning took those below 100
KINDS = ("separated", "crossing")
OUT = Path(__file__).with_name("metrics.json")


def by_frame(tracks, frames):
    """Return for each frame the numbers of its tracks and their boxes (n, 4): left, top, right, bottom."""
    numbers, boxes = [[] for _ in range(frames)], [[] for _ in range(frames)]
    for track in tracks:
        for frame, x, y, width, height in track["boxes"]:
            numbers[frame].append(track["id"])
            boxes[frame].append([x, y, x + width, y + height])
    return [np.array(its, int) for its in numbers], [np.array(its, float).reshape(-1, 4) for its in boxes]


def score(truth, tracks):
    """Return MOTA, IDF1 and HOTA of tracks."""
    frames = truth["video"]["frames"]
    true_ids, true_boxes = by_frame(truth["tracks"], frames)
    ids, boxes = by_frame(tracks, frames)
    overlaps = [
        box_iou(*pair) if len(pair[0]) and len(pair[1]) else np.zeros((len(pair[0]), len(pair[1])))
        for pair in zip(true_boxes, boxes)
    ]
    true_ids, ids = in_order(true_ids), in_order(ids)
    clear = compute_clear_metrics(true_ids, ids, overlaps)
    identity = compute_identity_metrics(true_ids, ids, overlaps)
    hota = compute_hota_metrics(true_ids, ids, overlaps)
    return {"MOTA": clear["MOTA"], "IDF1": identity["IDF1"], "HOTA": hota["HOTA"], "switches": clear["IDSW"]}


def in_order(ids):
    """Return the numbers of tracks as 0, 1, 2 …"""
    known = {number: order for order, number in enumerate(sorted({int(number) for its in ids for number in its}))}
    return [np.array([known[int(number)] for number in its], int) for its in ids]


def byte_track(path):
    """Return the tracks of ByteTrack on the boxes of OpenCV's MOG2."""
    subtract = cv2.createBackgroundSubtractorMOG2(history=200, varThreshold=32, detectShadows=False)
    tracker, tracks = ByteTrackTracker(), {}
    for frame, _, image in read_frames(path):
        mask = cv2.morphologyEx(subtract.apply(image), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        stats = stats[1:][stats[1:, 4] >= 0.004 * mask.size]
        corners = np.column_stack([stats[:, :2], stats[:, :2] + stats[:, 2:4]]).astype(float)
        found = supervision.Detections(xyxy=corners, confidence=np.ones(len(stats)), class_id=np.zeros(len(stats), int))
        found = tracker.update(found)
        for number, (left, top, right, bottom) in zip(found.tracker_id, found.xyxy):
            if number >= 0:
                track = tracks.setdefault(int(number), {"id": int(number), "boxes": []})
                track["boxes"].append([frame, *map(float, (left, top, right - left, bottom - top))])
    return [{**track, "boxes": tracking.trim(track["boxes"])} for track in tracks.values()]


def right_classes(truth, tracks, classes):
    """Return how many garments of the truth have a track of their class: the one that is on them longest."""
    right = 0
    for garment in truth["tracks"]:
        its = {box[0]: box[1:] for box in garment["boxes"]}
        shared = {track["id"]: sum(near(its.get(frame), box) for frame, *box in track["boxes"]) for track in tracks}
        best = max(shared, key=shared.get, default=None)
        right += bool(best and shared[best] and classes[best] == garment["class"])
    return right


def near(one, other):
    """Return whether two boxes [x, y, width, height] are the same by half."""
    if one is None:
        return False
    box = [np.array([[x, y, x + width, y + height]], float) for x, y, width, height in (one, other)]
    return tracking.iou(box[0][0], box[1][0]) >= 0.5


def measure(path, truth, photos):
    """Return all that is measured on one video."""
    seconds, started = {}, time.process_time()

    def lap(stage):
        nonlocal started
        seconds[stage] = time.process_time() - started
        started = time.process_time()

    tracks = tracking.track(path)["tracks"]
    lap("track")
    crops = tracking.crops(path, tracks)
    lap("crops")
    classes = {number: recognition.recognise(views)["class"] for number, views in crops.items()}
    lap("recognise")
    with TemporaryDirectory() as folder:
        drawing.annotate(path, tracks, {}, Path(folder) / "annotated.webm")
    lap("annotate")
    whole = [cv2.imread(str(Path(photos) / garment["photo"]))[..., ::-1] for garment in truth["tracks"]]
    names = [recognition.recognise([np.ascontiguousarray(photo)])["class"] for photo in whole]
    return {
        **score(truth, tracks),
        "tracks": len(tracks),
        "garments": len(truth["tracks"]),
        "right": right_classes(truth, tracks, classes),
        "right on the photos": sum(name == garment["class"] for name, garment in zip(names, truth["tracks"])),
        "CPU seconds a minute": {stage: its * 60 / truth["video"]["seconds"] for stage, its in seconds.items()},
        "ByteTrack": score(truth, byte_track(path)),
    }


def summary(measured):
    """Return the means over videos."""
    result = {name: round(mean(each[name] for each in measured), 4) for name in ("MOTA", "IDF1", "HOTA")}
    result["lowest"] = {name: round(min(each[name] for each in measured), 4) for name in ("MOTA", "IDF1", "HOTA")}
    result |= {
        name: sum(each[name] for each in measured)
        for name in ("garments", "tracks", "switches", "right", "right on the photos")
    }
    for part in ("ByteTrack", "CPU seconds a minute"):
        result[part] = {name: round(mean(each[part][name] for each in measured), 4) for name in measured[0][part]}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", default="clothing-dataset-small/test", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="(default: 101 to 110)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--videos", help="keep the videos in this folder, and take those that are there")
    parser.add_argument("--cut-out", action="store_true", help="cut the garments out of their photos")
    parser.add_argument("--out", default=OUT)
    arguments = parser.parse_args()
    results = {}
    with TemporaryDirectory() as temporary:
        folder = Path(arguments.videos or temporary)
        for kind in arguments.kinds:
            measured = []
            for seed in tqdm(arguments.seeds, desc=kind, disable=None):
                path = folder / f"{kind}-{seed}{'-cut' * arguments.cut_out}.mp4"
                if not path.exists():
                    generate_video.generate(kind, seed, path, photos=arguments.photos, cut_out=arguments.cut_out)
                truth = json.loads(path.with_suffix(".truth.json").read_text())
                measured.append(measure(path, truth, arguments.photos))
                print(kind, seed, json.dumps(measured[-1]))
            results[kind] = {**summary(measured), "seeds": arguments.seeds, "videos": measured}
    out = Path(arguments.out)
    before = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps({**before, **results}, indent=1) + "\n")
    for kind, result in results.items():
        print(kind, json.dumps({name: value for name, value in result.items() if name != "videos"}))


if __name__ == "__main__":
    main()
