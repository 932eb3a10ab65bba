"""HOTA, by which the tracker is tuned: https://arxiv.org/abs/2009.07736."""

import numpy as np
from scipy.optimize import linear_sum_assignment

THRESHOLDS = np.arange(0.05, 0.99, 0.05)  # of the overlap from which two boxes are the same


def hota(truth, tracks, frames):
    """Return HOTA, from 0 to 1, of the tracks of a video with `frames` frames."""
    one, other = by_frame(truth, frames), by_frame(tracks, frames)
    overlaps = [overlap(a, b) for (_, a), (_, b) in zip(one, other)]
    seen = np.zeros(len(truth)), np.zeros(len(tracks))
    together = np.zeros((len(truth), len(tracks)))
    for (ids, _), (its, _), shared in zip(one, other, overlaps):
        seen[0][ids] += 1
        seen[1][its] += 1
        together[np.ix_(ids, its)] += shared / np.maximum(shared.sum(0) + shared.sum(1)[:, None] - shared, 1e-9)
    both = seen[0][:, None] + seen[1]
    alignment = together / np.maximum(both - together, 1e-9)
    matched = np.zeros((len(THRESHOLDS), len(truth), len(tracks)))
    for (ids, _), (its, _), shared in zip(one, other, overlaps):
        rows, columns = linear_sum_assignment(-alignment[np.ix_(ids, its)] * shared)
        for index, threshold in enumerate(THRESHOLDS):
            good = shared[rows, columns] >= threshold - 1e-9
            matched[index, ids[rows[good]], its[columns[good]]] += 1
    right = matched.sum((1, 2))
    detection = right / np.maximum(both_sums(seen) - right, 1)
    association = (matched * matched / np.maximum(both - matched, 1e-9)).sum((1, 2)) / np.maximum(right, 1)
    return float(np.sqrt(detection * association).mean())


def both_sums(seen):
    return seen[0].sum() + seen[1].sum()


def by_frame(tracks, frames):
    """Return for each frame (indexes of tracks, boxes as left, top, right, bottom)."""
    found = [([], []) for _ in range(frames)]
    for index, track in enumerate(tracks):
        for frame, x, y, width, height in track["boxes"]:
            found[frame][0].append(index)
            found[frame][1].append((x, y, x + width, y + height))
    return [(np.array(ids, int), np.array(boxes, float).reshape(-1, 4)) for ids, boxes in found]


def overlap(one, other):
    """Return the intersections over unions of boxes (n, 4) and (m, 4)."""
    one, other = one[:, None], other[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = sides.clip(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, other)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)
