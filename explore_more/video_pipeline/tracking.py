"""Find and follow the garments that move through a video.

`track` reads a video twice. The first pass learns the background: the median of some frames, on which nothing that
moves stays. The second pass compares each frame with it. A blob of what differs is a garment, or several that cover
each other. Garments are followed into such a blob and out of it by what they look like: each is looked for in the blob,
near where its speed takes it, the foremost first.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass, fields

import cv2
import numpy as np

from background import Background
from video import read_frames

LIMITS = {
    "threshold": (5, 100),
    "closing": (0.002, 0.05),
    "least_area": (0.0005, 0.1),
    "least_seconds": (0, 5),
    "patience": (0, 10),
    "similarity": (5, 120),
    "rate": (5, 60),
}


@dataclass(frozen=True)
class Parameters:
    """What can be tuned. Lengths are shares of the longer side of a frame, times are seconds."""

    threshold: float = 22.0  # grey levels between garment and background
    closing: float = 0.012  # gaps up to this size in a garment are filled
    least_area: float = 0.004  # share of the frame
    least_seconds: float = 0.4  # how long a garment is seen
    patience: float = 1.0  # how long a garment may be out of sight
    similarity: float = 38.0  # grey levels between two views of the same point of a garment
    rate: float = 12.5  # frames a second to look at, at least, where the video has them

    def __post_init__(self):
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; it must be a number from {least} to {most}")

    @classmethod
    def from_json(cls, values):
        """Return the parameters in a dictionary; raise ValueError for unknown names and for values out of range."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or not set(values) <= set(names):
            raise ValueError(
                f"the tracker's parameters must be a JSON object with some of these names: {', '.join(names)}"
            )
        return cls(**values)

    def to_json(self):
        return asdict(self)


CELLS = 32  # the longer side of what is kept of a garment's looks, in cells
LEAST_VISIBLE = 0.25  # a garment that comes or goes has a box while this share of it is inside the frame
JUMP, DEEP = 0.06, 0.35  # of a garment's length along the edge of the frame
APART = 0.03  # share of the longer side; blobs this far from each other are no fragments of one garment
BORDER = 3  # pixels from the edge of the frame at which a garment may go on outside


class Garment:
    """A garment that is followed. A box is left, top, right, bottom, in pixels of the small frame."""

    def __init__(self, number, frame, box):
        self.number = number
        self.boxes = {frame: box}  # where it was seen or found among others
        self.sure = frame  # when it was last seen
        self.box, self.velocity = box, np.zeros(2)
        self.view = None  # what it looks like: View
        self.missed = 0.0  # seconds since it was last seen

    @property
    def size(self):
        return self.box[2:] - self.box[:2]

    def predicted(self, steps):
        return self.box + steps * np.tile(self.velocity, 2)

    def move(self, frame, box, steps, edges, weight=0.5):
        """Put the garment at `box`; learn its speed from the edges that are inside the frame."""
        inside = ~at_border(box, edges) & ~at_border(self.box, edges)
        for axis in (0, 1):
            edges = [edge for edge in (axis, axis + 2) if inside[edge]]
            if edges:
                speed = (box - self.box)[edges].mean() / steps
                self.velocity[axis] += weight * (speed - self.velocity[axis])
        self.boxes[frame] = self.box = box


class View:
    """A garment at a coarse grid of cells: colours, float32 (rows, columns, 3), and which cells are garment.

    It is `whole` if all of the garment was inside the frame.
    """

    def __init__(self, image, mask, box, whole):
        self.size, self.whole = box[2:] - box[:2], whole
        self.cell = max(1.0, self.size.max() / CELLS)
        corner, shape = box[:2], np.maximum(2, np.rint(self.size / self.cell)).astype(int)
        self.colours = look_at(image, corner, self.cell, shape)
        self.solid = look_at(mask, corner, self.cell, shape) > 0.5

    def paint(self, canvas, box, value, cells=None):
        """Set the pixels of an image that the garment, or some cells of it, cover when it is at `box`."""
        part, cells = self.cover(box, canvas.shape, self.solid if cells is None else cells)
        canvas[part][cells] = value

    def draw(self, canvas, box, cells):
        """Draw some cells of the garment at `box` into an image."""
        part, cells = self.cover(box, canvas.shape, cells)
        _, colours = self.cover(box, canvas.shape, self.colours)
        canvas[part][cells] = colours[cells]

    def cover(self, box, shape, grid):
        """Return the slices of a frame that the garment at `box` covers, and a grid of its cells in pixels there."""
        left, top = map(int, np.rint(box[:2]))
        width, height = map(int, np.maximum(1, np.rint(self.size)))
        grid = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
        x, y = max(0, left), max(0, top)
        right, bottom = min(shape[1], left + width), min(shape[0], top + height)
        grid = grid[y - top : max(y, bottom) - top, x - left : max(x, right) - left]
        return np.s_[y : max(y, bottom), x : max(x, right)], grid if grid.ndim == 3 else grid > 0.5


def look_at(image, corner, cell, shape):
    """Return an image at a grid of `shape` (columns, rows) cells from `corner`; outside of the image it is -1."""
    zoom = np.array([[cell, 0, corner[0] + (cell - 1) / 2], [0, cell, corner[1] + (cell - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, zoom, tuple(map(int, shape)), flags=flags, borderValue=(-1, -1, -1))


def at_border(box, edges):
    """Return for each side of a box whether it is at the edge of what the camera sees: left, top, right, bottom."""
    return (box - edges) * (1, 1, -1, -1) < BORDER


def complete(box, size, edges):
    """Return a box that the edge of the frame cuts off with its part outside, for a garment of a known size."""
    box, cut = box.copy(), at_border(box, edges)
    for axis in (0, 1):
        missing = max(0.0, size[axis] - (box[axis + 2] - box[axis]))
        if cut[axis] and not cut[axis + 2]:
            box[axis] -= missing
        elif cut[axis + 2] and not cut[axis]:
            box[axis + 2] += missing
    return box


def area(box):
    return float(np.prod((box[2:] - box[:2]).clip(0)))


def intersect(one, other):
    return np.concatenate([np.maximum(one, other)[:2], np.minimum(one, other)[2:]])


def iou(one, other):
    common = area(intersect(one, other))
    return common / (area(one) + area(other) - common) if common else 0.0


def enclose(boxes):
    boxes = np.array(boxes)
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def whole_frame(shape):
    return np.array([0, 0, shape[1], shape[0]], float)


def pixels(box, shape):
    """Return the slices of a box inside a frame."""
    left, top, right, bottom = np.rint(intersect(box, whole_frame(shape))).astype(int)
    return np.s_[top : max(top, bottom), left : max(left, right)]


def best_pairs(scores, least):
    """Return [(row, column)] of a matrix of scores, the highest first, each row and column once."""
    pairs, scores = [], np.array(scores, float)
    while scores.size and scores.max() >= least:
        row, column = np.unravel_index(scores.argmax(), scores.shape)
        pairs.append((int(row), int(column)))
        scores[row], scores[:, column] = -1, -1
    return pairs


class Tracker:
    """Follows garments from frame to frame."""

    def __init__(self, parameters, shape):
        self.parameters, self.shape = parameters, shape
        self.frame, self.now = 0, 0.0
        self.garments, self.ended = [], []
        self.least_area = parameters.least_area * shape[0] * shape[1]
        side = 2 * round(parameters.closing * max(shape)) + 1
        self.kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))

    def blobs(self, difference):
        """Return the labels of what differs from the background, int32 (h, w), and the box of each label."""
        mask = (difference > self.parameters.threshold).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self.kernel)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        labels, boxes = np.zeros(mask.shape, np.int32), {}
        for outline in outlines:
            if cv2.contourArea(outline) < self.least_area / 8:
                continue
            x, y, width, height = cv2.boundingRect(outline)
            label = len(boxes) + 1
            cv2.drawContours(labels, [outline], -1, label, cv2.FILLED)
            boxes[label] = np.array([x, y, x + width, y + height], float)
        return labels, boxes

    def step(self, frame, now, image, difference, edges):
        """Follow the garments into a frame, at `now` seconds; `edges` are those of what the camera sees in it."""
        self.steps, self.seconds = max(1, frame - self.frame), now - self.now
        self.frame, self.now, self.image, self.edges = frame, now, image, edges
        labels, boxes = self.blobs(difference)
        for garments, blobs in self.groups(labels, boxes):
            mask = np.isin(labels, list(blobs)).astype(np.float32)
            if not garments:
                self.start(enclose([boxes[blob] for blob in blobs]), mask)
            elif not blobs:
                self.miss(garments[0])
            else:
                self.follow(garments, mask, labels, {blob: boxes[blob] for blob in blobs})
        self.drop()

    def groups(self, labels, boxes):
        """Yield (garments, blobs) that belong together, since the garments are expected where the blobs are."""
        touching = {
            id(garment): self.touched(labels, garment.predicted(self.steps), boxes) for garment in self.garments
        }
        left = set(boxes)
        waiting = list(self.garments)
        while waiting:
            garments, blobs = [waiting.pop()], set()
            for garment in garments:
                new = touching[id(garment)] - blobs
                blobs |= new
                garments += [other for other in waiting if touching[id(other)] & new]
                waiting = [other for other in waiting if other not in garments]
            left -= blobs
            yield garments, blobs
        for blob in left:
            yield [], {blob}

    def touched(self, labels, box, boxes):
        """Return the labels of which a good part lies in a box, or which fill a good part of it."""
        counts = np.bincount(labels[pixels(box, self.shape)].ravel(), minlength=len(boxes) + 1)
        room = max(1.0, area(intersect(box, self.edges)))
        return {label for label, its in boxes.items() if counts[label] > 0.2 * min(room, area(its))}

    def start(self, box, mask, least=1.0):
        """Follow a new garment, if it is large enough."""
        if mask.sum() >= least * self.least_area:
            garment = Garment(len(self.garments) + len(self.ended) + 1, self.frame, box)
            garment.view = View(self.image, mask, box, whole=False)
            self.garments.append(garment)

    def miss(self, garment):
        garment.box = garment.predicted(self.steps)
        garment.missed += self.seconds

    def follow(self, garments, mask, labels, boxes):
        """Place garments in the blobs where they are expected."""
        if len(garments) == 1 and not garments[0].view.whole:
            boxes = self.separate(garments[0], labels, boxes)
            mask = np.isin(labels, list(boxes)).astype(np.float32)
        whole = enclose(list(boxes.values()))
        if len(garments) == 1 and self.jumped(garments[0], whole):
            self.part(garments[0], mask)
            return
        if len(garments) == 1 and not self.outgrown(garments[0], whole, mask):
            self.see(garments[0], whole, mask)
            return
        found = self.find(mask, garments)
        pairs = [[iou(intersect(place, self.edges), box) for box in boxes.values()] for place, *_ in found]
        pairs = best_pairs(pairs, 0.5)
        if len(garments) > 1 and len(pairs) == len(garments) == len(boxes):
            for row, column in pairs:
                label = list(boxes)[column]
                self.see(garments[row], boxes[label], (labels == label).astype(np.float32))
            return
        for garment, (place, likeness, visible, _) in zip(garments, found):
            garment.move(self.frame, place, self.steps, self.edges, weight=0.3)
            if likeness > 0.4 and visible > 0.1:
                garment.sure, garment.missed = self.frame, 0.0
            elif visible > 0.3:
                garment.missed += self.seconds
        self.explain_rest(mask, garments, [agreeing for *_, agreeing in found])

    def separate(self, garment, labels, boxes):
        """Return the blobs that are a garment that has not been seen whole; start others for those apart from it."""
        main = max(boxes, key=lambda label: area(intersect(boxes[label], garment.predicted(self.steps))))
        kept = {main: boxes[main]}
        for label, box in boxes.items():
            mask = (labels == label).astype(np.float32)
            apart = intersect(box, boxes[main])
            if (apart[2:] - apart[:2]).min() < -APART * max(self.shape) and mask.sum() >= 2 * self.least_area:
                self.start(box, mask)
            else:
                kept[label] = box
        return kept

    def jumped(self, garment, box):
        """Return whether a garment that is coming in grows along the edge of the frame at once, as if by another."""
        cut = at_border(garment.box, self.edges)
        if garment.view.whole or not cut.any():
            return False
        along = 1 if cut[0] or cut[2] else 0
        length, depth = garment.size[along], garment.size[1 - along]
        growth = (garment.box - box)[along], (box - garment.box)[along + 2]
        return max(growth) > JUMP * length + 3 and depth > DEEP * length

    def part(self, garment, mask):
        """Start a garment beside one that is still coming in."""
        ((place, *_),) = self.find(mask, [garment])
        garment.move(self.frame, place, self.steps, self.edges)
        garment.sure = self.frame
        rest = mask.astype(np.uint8)
        garment.view.paint(rest, place, 0)
        rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        x, y, width, height = cv2.boundingRect(rest)
        if rest.any():
            self.start(np.array([x, y, x + width, y + height], float), rest.astype(np.float32), least=0.3)

    def outgrown(self, garment, box, mask):
        """Return whether a blob is too large for the garment alone, though that is still to be seen in it."""
        if not garment.view.whole:
            return False
        expected = intersect(garment.predicted(self.steps), self.edges)
        if np.all(box[2:] - box[:2] < 1.1 * (expected[2:] - expected[:2]).clip(0) + 5):
            return False
        _, likeness, visible, _ = self.search(garment, mask, np.ones(self.shape, np.float32))
        return likeness > 0.45 and visible > 0.3

    def see(self, garment, box, mask):
        """Take a blob that is one garment alone."""
        if garment.view.whole:
            box = complete(box, garment.view.size, self.edges)
        garment.move(self.frame, box, self.steps, self.edges)
        garment.sure, garment.missed = self.frame, 0.0
        whole = not at_border(box, self.edges).any()
        if whole or (not garment.view.whole and area(box) >= np.prod(garment.view.size)):
            garment.view = View(self.image, mask, box, whole)

    def find(self, mask, garments):
        """Return what `search` finds of each garment in a blob that holds several; the foremost hide the others."""
        free = np.ones(self.shape, np.float32)  # 0 where a garment before the others was found
        found, left = {}, list(garments)
        while left:
            results = [self.search(garment, mask, free) for garment in left]
            index = int(np.argmax([likeness * min(1, 4 * visible) for _, likeness, visible, _ in results]))
            garment = left.pop(index)
            found[id(garment)] = results[index]
            garment.view.paint(free, results[index][0], 0)
        return [found[id(garment)] for garment in garments]

    def search(self, garment, mask, free):
        """Return where in the mask a garment looks most like itself: (place, likeness, visible share, like cells)."""
        guess, view = garment.predicted(self.steps), garment.view
        rows, columns = view.solid.shape
        middle = (guess[:2] + guess[2:] - view.size) / 2
        reach = int(np.ceil((8 + 1.2 * self.steps * np.abs(garment.velocity).max()) / view.cell))
        corner, shape = middle - reach * view.cell, np.array([columns, rows]) + 2 * reach
        state = look_at(mask, corner, view.cell, shape)  # 1 in the blob, 0 beside it, -1 outside of the frame
        in_front = look_at(free, corner, view.cell, shape) < 0.5

        def windows(grid):
            return np.lib.stride_tricks.sliding_window_view(grid, (rows, columns), (0, 1))

        patches = windows(look_at(self.image, corner, view.cell, shape)).transpose(0, 1, 3, 4, 2)
        same = np.abs(patches - view.colours).max(-1) < self.parameters.similarity
        seen = windows((state >= 0.5) & ~in_front) & view.solid
        beside = windows((state < 0.5) & (state >= 0)) & view.solid
        like, count = (seen & same).sum((2, 3)), view.solid.sum() + 1
        offsets = np.arange(-reach, reach + 1)
        distance = np.hypot(*np.meshgrid(offsets, offsets)) / max(reach, 1)
        score = (like - beside.sum((2, 3))) / count - 0.05 * distance
        best = np.unravel_index(score.argmax(), score.shape)
        start, visible = corner + np.array(best[::-1]) * view.cell, seen[best].sum()
        place = np.concatenate([start, start + view.size])
        return place, like[best] / max(1, visible), visible / count, (seen & same)[best]

    def explain_rest(self, mask, garments, agreeing):
        """Start a garment where a blob shows more than those found in it, or let one that is still coming in grow.

        `agreeing` are the cells of each garment that look like it.
        """
        rest, outside = mask.astype(np.uint8), mask.astype(np.uint8)
        for garment, cells in zip(garments, agreeing):
            garment.view.paint(rest, garment.box, 0, cells)
            outside[pixels(garment.box, self.shape)] = 0
        rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(rest)
        grown = set()
        for label in range(1, count):
            x, y, width, height, size = stats[label]
            if size < self.least_area:
                continue
            box, alone = np.array([x, y, x + width, y + height], float), (labels == label).astype(np.float32)
            near = [pair for pair in zip(garments, agreeing) if not pair[0].view.whole]
            near = [pair for pair in near if area(intersect(pair[0].box + np.array([-6, -6, 6, 6]), box))]
            near.sort(key=lambda pair: not (at_border(pair[0].box, self.edges) & at_border(box, self.edges)).any())
            if near:
                if near[0][0] not in grown:
                    self.grow(*near[0], box, alone)
                grown.add(near[0][0])
            elif (alone * outside).sum() > size / 2:
                self.start(box, alone)

    def grow(self, garment, cells, box, mask):
        """Add to a garment that has not been seen whole what appears beside it; `cells` of it are in sight."""
        picture, view = self.image.copy(), garment.view
        view.paint(mask, garment.box, 1)
        view.draw(picture, garment.box, view.solid & ~cells)
        garment.box = enclose([garment.box, box])
        garment.boxes[self.frame] = garment.box
        garment.view = View(picture, mask, garment.box, whole=False)

    def drop(self):
        """End garments that left the frame or were not seen for long."""
        for garment in list(self.garments):
            gone = area(intersect(garment.box, self.edges)) < 0.1 * area(garment.box)
            if gone or garment.missed > self.parameters.patience:
                self.garments.remove(garment)
                self.ended.append(garment)


def track(path, parameters=None, progress=None):
    """Return the garments that move through a video, with a box [frame, x, y, width, height] for each frame.

    The result is {"video": {…}, "tracks": [{"id", "first", "last", "boxes"}, …], "warnings": [sentence, …]}, ready for
    JSON. `progress` is called with the share that is done. Raise RequestError for what is no video that can be read.
    """
    parameters = parameters or Parameters()
    background = Background(path)
    times = background.times
    seconds = times[-1] - times[0] + frame_seconds(times)
    fps = len(times) / seconds
    stride = max(1, int(fps / parameters.rate))
    tracker = Tracker(parameters, background.image.shape[:2])
    motions, shape = {}, None
    for number, now, image in read_frames(path, lambda number: number % stride == 0):
        if image is None:
            continue
        shape = shape or image.shape[:2]
        small, difference, edges, motions[number] = background.compare(image)
        tracker.step(number, now, small, difference, edges)
        if progress:
            progress(min(1.0, number / len(times)))
    scale = np.array([shape[1], shape[0]]) / background.image.shape[1::-1]
    garments = tracker.ended + tracker.garments
    tracks = [describe(garment, motions, scale, shape, times) for garment in garments]
    tracks = [track for track in tracks if track and track["last"] - track["first"] >= parameters.least_seconds]
    tracks = join_parts([track for track in tracks if not is_part(track, tracks)], shape)
    tracks.sort(key=lambda track: (track["first"], track["boxes"][0]))
    video = {
        "width": shape[1],
        "height": shape[0],
        "fps": round(fps, 3),
        "frames": len(times),
        "seconds": round(seconds, 3),
    }
    tracks = [{"id": number, **track} for number, track in enumerate(tracks, 1)]
    return {"video": video, "tracks": tracks, "warnings": background.warnings}


def frame_seconds(times):
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / 25


def describe(garment, motions, scale, shape, times):
    """Return a garment as JSON has it, with a box for each frame from the first to the last in which it was seen."""
    frames = sorted(frame for frame in garment.boxes if frame <= garment.sure)
    places = []
    for frame in frames:
        box = garment.boxes[frame].reshape(2, 2)
        if motions[frame] is not None:
            box = cv2.transform(box[None].astype(np.float64), motions[frame].astype(np.float64))[0]
        places.append((box * scale).ravel())
    every = np.arange(frames[0], frames[-1] + 1)
    places = np.stack([np.interp(every, frames, edge) for edge in np.array(places).T], 1)
    boxes = []
    for frame, place in zip(every, places):
        left, top, right, bottom = intersect(place, whole_frame(shape))
        if right - left >= 1 and bottom - top >= 1:
            boxes.append([int(frame), *(round(float(value), 1) for value in (left, top, right - left, bottom - top))])
    boxes = trim(boxes)
    if not boxes:
        return None
    return {"first": round(times[boxes[0][0]], 3), "last": round(times[boxes[-1][0]], 3), "boxes": boxes}


def is_part(track, tracks):
    """Return whether a track lies inside a larger one most of the time, as the pocket of a garment would."""
    boxes = np.array(track["boxes"], float)
    for other in tracks:
        its = np.array(other["boxes"], float)
        _, mine, theirs = np.intersect1d(boxes[:, 0], its[:, 0], return_indices=True)
        one, two = boxes[mine, 1:], its[theirs, 1:]
        larger = one[:, 2:].prod(1) < 0.7 * two[:, 2:].prod(1)
        if (larger & (shared(one, two) > 0.85)).sum() > 0.7 * len(boxes):
            return True
    return False


def join_parts(tracks, shape):
    """Return tracks, those joined that touch and never move against each other: they are parts of one garment."""
    joined = []
    for track in tracks:
        for index, other in enumerate(joined):
            if move_together(track, other, shape):
                joined[index] = join(track, other)
                break
        else:
            joined.append(track)
    return joined


def move_together(track, other, shape):
    """Return whether two tracks touch, and are at the same distance from each other for as long as both are there."""
    boxes, its = np.array(track["boxes"], float), np.array(other["boxes"], float)
    _, mine, theirs = np.intersect1d(boxes[:, 0], its[:, 0], return_indices=True)
    one, two = boxes[mine, 1:], its[theirs, 1:]
    inside = [
        (each[:, :2] > 4).all(1) & (each[:, :2] + each[:, 2:] < np.array(shape[::-1]) - 4).all(1) for each in (one, two)
    ]
    one, two = one[inside[0] & inside[1]], two[inside[0] & inside[1]]
    if len(one) < 10 or len(mine) < 0.7 * min(len(boxes), len(its)):
        return False
    gap = np.maximum(one[:, :2], two[:, :2]) - np.minimum(one[:, :2] + one[:, 2:], two[:, :2] + two[:, 2:])
    side = max(shape)
    return (one - two)[:, :2].std(0).max() < 0.008 * side and np.median(gap.max(1)) < 0.01 * side


def join(track, other):
    """Return one track with the boxes around both."""
    boxes = {frame: box for frame, *box in other["boxes"]}
    for frame, *box in track["boxes"]:
        pair = np.array([box, boxes.get(frame, box)])
        start, end = pair[:, :2].min(0), (pair[:, :2] + pair[:, 2:]).max(0)
        boxes[frame] = np.concatenate([start, end - start]).round(1).tolist()
    first, last = min(track["first"], other["first"]), max(track["last"], other["last"])
    return {"first": first, "last": last, "boxes": [[frame, *boxes[frame]] for frame in sorted(boxes)]}


def shared(one, other):
    """Return the share of each box (n, 4), as x, y, width, height, that the other box covers."""
    sides = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    return sides.clip(0).prod(1) / one[:, 2:].prod(1)


def trim(boxes):
    """Return the boxes [frame, x, y, width, height] of a garment while a quarter of it or more is inside the frame."""
    areas = [width * height for *_, width, height in boxes]
    seen = [index for index, its in enumerate(areas) if its >= LEAST_VISIBLE * max(areas)]
    return boxes[seen[0] : seen[-1] + 1] if seen else []


def crops(path, tracks, each=5):
    """Return {id: [RGB uint8 (h, w, 3), …]} with up to `each` views of each of a result's tracks.

    They are spread over the frames in which nothing covers the garment. The first is of the middle size: the largest
    may show two garments.
    """
    chosen = {track["id"]: choose_frames(track, tracks, each) for track in tracks}
    wanted = defaultdict(list)
    for number, boxes in chosen.items():
        for order, box in enumerate(boxes):
            wanted[box[0]].append((number, order, box))
    views = {number: {} for number in chosen}
    for frame, _, image in read_frames(path, wanted.__contains__):
        for number, order, box in wanted.get(frame, ()):
            views[number][order] = cut_out(image, box)
    return {number: [its[order] for order in sorted(its)] for number, its in views.items()}


def choose_frames(track, tracks, each):
    """Return the boxes of a track to look at."""
    boxes = np.array(track["boxes"], float)
    hidden = covered(boxes, [other for other in tracks if other is not track])
    areas = boxes[:, 3] * boxes[:, 4]
    clear = np.flatnonzero((hidden < 0.02) & (areas > 0.9 * np.quantile(areas, 0.75)))
    if not len(clear):
        clear = np.argsort(hidden - areas / areas.max())[: max(1, len(boxes) // 4)]
        clear.sort()
    chosen = clear[np.unique(np.linspace(0, len(clear) - 1, each + 2).round().astype(int)[1:-1])]
    first = chosen[np.argsort(areas[chosen])[len(chosen) // 2]]
    return [track["boxes"][index] for index in [first, *(index for index in chosen if index != first)]]


def covered(boxes, others):
    """Return for each box [frame, x, y, width, height] the share that boxes of other tracks cover, at most."""
    shares = np.zeros(len(boxes))
    for other in others:
        its = np.array(other["boxes"], float)
        _, mine, theirs = np.intersect1d(boxes[:, 0], its[:, 0], return_indices=True)
        shares[mine] = np.maximum(shares[mine], shared(boxes[mine, 1:], its[theirs, 1:]))
    return shares


def cut_out(image, box):
    """Return what is in a box of a BGR image, as RGB."""
    _, x, y, width, height = box
    left, top = max(0, int(x)), max(0, int(y))
    right, bottom = min(image.shape[1], round(x + width)), min(image.shape[0], round(y + height))
    return np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1), ::-1])
