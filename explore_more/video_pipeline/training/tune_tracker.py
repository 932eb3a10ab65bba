"""Tune the tracker's parameters on labelled videos, by HOTA."""

import json
import random

from hota import hota

from tracking import LIMITS, Parameters, track

CANDIDATES = 12
TUNED = ("threshold", "closing", "least_area", "similarity", "patience")
LEAST_GAIN = 0.002  # of HOTA on the videos that are held out


def load(data):
    """Return [(path, truth)] of the labelled videos in a folder; raise ValueError."""
    labelled = []
    for path in sorted(data.rglob("*.truth.json")):
        video = path.with_name(path.name.replace(".truth.json", ".mp4"))
        if not video.exists():
            raise ValueError(f"{path.name}: the video {video.name} is not beside it.")
        try:
            truth = json.loads(path.read_text())
            labelled.append((video, check(truth)))
        except (ValueError, TypeError, KeyError, LookupError):
            raise ValueError(f"{path.name}: must hold video and tracks as track() returns them.") from None
    if len(labelled) < 2:
        raise ValueError("At least two labelled videos are needed, name.mp4 with name.truth.json: one is held out.")
    return labelled


def check(truth):
    """Return a truth in which every box lies in a frame of the video."""
    frames = truth["video"]["frames"]
    for frame, *box in (box for each in truth["tracks"] for box in each["boxes"]):
        if not 0 <= frame < frames or len(box) != 4 or min(box[2:]) < 0:
            raise ValueError("a box lies outside of the video")
    return truth


def score(labelled, parameters):
    """Return the mean HOTA of the tracker on labelled videos."""
    total = 0.0
    for video, truth in labelled:
        result = track(video, parameters)
        frames = max(result["video"]["frames"], truth["video"]["frames"])
        total += hota(truth["tracks"], result["tracks"], frames)
    return total / len(labelled)


def vary(parameters, dice):
    """Return parameters of which some differ by a factor, within their limits."""
    values = parameters.to_json()
    for name in dice.sample(TUNED, dice.randint(1, 3)):
        least, most = LIMITS[name]
        values[name] = round(min(most, max(least, values[name] * dice.uniform(0.6, 1.6))), 5)
    return Parameters(**values)


def train(data, current, model, options):
    """Write parameters.json to the folder `model`; return the report."""
    labelled = load(data)
    path = current / "parameters.json"
    old = Parameters.from_json(json.loads(path.read_text())) if path.exists() else Parameters()
    candidates = read_count(options)
    dice = random.Random(0)
    dice.shuffle(labelled)
    held_out, learned = labelled[: max(1, len(labelled) // 3)], labelled[max(1, len(labelled) // 3) :]
    best, highest = old, score(learned, old)
    for number in range(1, candidates + 1):
        candidate = Parameters() if number == 1 and old != Parameters() else vary(best, dice)
        its = score(learned, candidate)
        print(f"candidate {number} of {candidates}: HOTA {its:.4f}, best {max(its, highest):.4f}", flush=True)
        if its > highest:
            best, highest = candidate, its
    before = score(held_out, old)
    after = before if best == old else score(held_out, best)
    (model / "parameters.json").write_text(json.dumps(best.to_json(), indent=1))
    return {
        "accepted": after >= before + LEAST_GAIN,
        "metric": "HOTA",
        "current": round(before, 4),
        "new": round(after, 4),
        "held_out": len(held_out),
        "trained_on": len(learned),
    }


def read_count(options):
    """Return how many candidates to try."""
    text = str(options.get("candidates", CANDIDATES))
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError(f"The hyperparameter candidates is {text!r}; it must be a number from 1 to 1000.")
    return int(text)
