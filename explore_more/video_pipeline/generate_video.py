"""Make a video of garments that pass a camera, and its exact ground truth.

    python generate_video.py --kind crossing --seed 3 --out build/video.mp4 --photos clothing-dataset-small/test

Photos of clothes, in a folder for each class, slide through a room, pause and leave. Separated garments never touch.
Each crossing garment is covered by another, or covers it, by half of the smaller one or more. The camera is noisy and
the light changes. The truth, in a file that ends in .truth.json, has the shape of what `tracking.track` returns, with
the class of each track. A box is the whole garment inside the frame, its hidden parts included.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 640, 480, 25
GAP = 12  # the least distance of separated garments, in pixels
MARGIN = 8  # how far outside of the frame a garment waits, in pixels
OVERLAP = 0.5  # what crossing garments cover of the smaller one, at least
VISIBLE = 0.25  # the share of a garment inside the frame from which it has a box
PHOTOS = Path(__file__).resolve().parents[2] / "tests/photos"


def choose_photos(folder, count, random):
    """Return paths of photos in the folders of classes in `folder`, of different classes while there are some."""
    classes = [sorted(path.glob("*.jp*g")) for path in sorted(Path(folder).iterdir()) if path.is_dir()]
    classes = [photos for photos in classes if photos]
    if not classes:
        raise ValueError(f"{folder}: has no folder with photos in it, such as dress/1.jpg")
    order = [index for _ in range(count) for index in random.permutation(len(classes))]
    return [classes[index][random.integers(len(classes[index]))] for index in order[:count]]


def load_garment(path, random, cut_out):
    """Return a photo of a garment at its size in the video, uint8 (h, w, 3), and its opacity, float32 (h, w, 1)."""
    photo = cv2.imread(str(path))
    if photo is None:
        raise ValueError(f"{path}: is not a photo")
    height = random.uniform(0.34, 0.44) * HEIGHT
    scale = min(height / photo.shape[0], 0.3 * WIDTH / photo.shape[1])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if cut_out:
        return cut(photo)
    return photo, np.ones((*photo.shape[:2], 1), np.float32)


def cut(photo):
    """Return a photo without its background, and its opacity; the whole photo where no plausible garment is found."""
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    margin = max(2, width // 25), max(2, height // 25)
    box = (*margin, width - 2 * margin[0], height - 2 * margin[1])
    cv2.setRNGSeed(0)
    cv2.grabCut(photo, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
    mask = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    x, y, w, h = cv2.boundingRect(mask)
    if not 0.2 <= mask.mean() <= 0.8 or w < width / 2 or h < height / 2:
        return photo, np.ones((height, width, 1), np.float32)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)
    return photo[y : y + h, x : x + w], soft[y : y + h, x : x + w, None]


class Path2D:
    """Where the middle of a garment is at each time: straight lines between points (seconds, x, y), with some sway."""

    def __init__(self, size, points, random):
        self.width, self.height = size
        self.times, self.xs, self.ys = np.array(points).T
        self.sway, self.phase = random.uniform(1, 4), random.uniform(0, 6)

    def boxes(self, frames):
        """Return left, top, right, bottom for each frame number, as an array (n, 4)."""
        seconds = frames / FPS
        x = np.interp(seconds, self.times, self.xs) - self.width / 2
        y = np.interp(seconds, self.times, self.ys) + self.sway * np.sin(3 * seconds + self.phase) - self.height / 2
        return np.stack([x, y, x + self.width, y + self.height], 1)

    @property
    def frames(self):
        return np.arange(int(self.times[0] * FPS), int(self.times[-1] * FPS) + 1)


def overlap(one, other, margin=0):
    """Return the largest share of the smaller of two garments that lies over the other, over all frames."""
    frames = np.intersect1d(one.frames, other.frames)
    if not len(frames):
        return 0.0
    a, b = one.boxes(frames), other.boxes(frames)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + margin
    return np.prod(sides.clip(0), 1).max() / min(one.width * one.height, other.width * other.height)


def straight(size, start, seconds, y, *, rightward, pause, random):
    """Return the points of a way through the frame from side to side, with a pause of `pause` seconds somewhere."""
    ends = np.array([-size[0] / 2 - MARGIN, WIDTH + size[0] / 2 + MARGIN])[:: 1 if rightward else -1]
    part = random.uniform(0.35, 0.65)
    middle = ends[0] + part * (ends[1] - ends[0])
    stop = start + part * seconds
    return [(start, ends[0], y), (stop, middle, y), (stop + pause, middle, y), (start + seconds + pause, ends[1], y)]


def separated_paths(sizes, random):
    """Return a Path2D for each size; no two touch."""
    paths, start = [], 0.5
    for size in sizes:
        seconds, rightward = random.uniform(4, 7), random.random() < 0.5
        pause = random.uniform(1, 3) * (random.random() < 0.5)
        y = random.uniform(size[1] / 2 + 8, HEIGHT - size[1] / 2 - 8)
        path = Path2D(size, straight(size, start, seconds, y, rightward=rightward, pause=pause, random=random), random)
        while any(overlap(path, other, GAP) for other in paths):
            path.times += 0.25
        paths.append(path)
        start = path.times[0] + random.uniform(0.2, 0.8)
    return paths


def crossing_paths(sizes, random):
    """Return a Path2D for each size; they meet in twos and threes, in the middle of the frame."""
    paths, start, sizes = [], 0.5, list(sizes)
    while sizes:
        count = len(sizes) if len(sizes) <= 3 else 2
        group, sizes = sizes[:count], sizes[count:]
        while True:
            candidates = meeting(group, start, random)
            pairs = [overlap(*pair) >= OVERLAP for pair in combinations(candidates, 2)]
            if sum(pairs) >= count - 1:
                break
        paths += candidates
        start = max(path.times[-1] for path in candidates) - random.uniform(1, 2)
    return paths


def meeting(sizes, start, random):
    """Return a Path2D for each size that go over each other: opposite ways, overtaking, at a pause, up and down."""
    y = random.uniform(0.4, 0.6) * HEIGHT
    kind = random.choice(["opposite", "overtaking", "pause"])
    slow, fast = random.uniform(5, 7), random.uniform(3, 4)
    rightward = random.random() < 0.5
    if kind == "overtaking":
        ways = [(start, slow, rightward, 0), (start + (slow - fast) / 2, fast, rightward, 0)]
    elif kind == "pause":
        pause = random.uniform(2.5, 3.5)
        ways = [(start, slow, rightward, pause), (start + slow / 2 + pause / 2 - fast / 2, fast, not rightward, 0)]
    else:
        ways = [(start, slow, rightward, 0), (start + random.uniform(0, 1), slow, not rightward, 0)]
    offsets = random.uniform(-0.08, 0.08, 2) * HEIGHT
    paths = [
        Path2D(size, straight(size, begin, seconds, y + offset, rightward=right, pause=pause, random=random), random)
        for size, offset, (begin, seconds, right, pause) in zip(sizes, offsets, ways)
    ]
    if len(sizes) == 3:
        size, middle = sizes[2], (paths[0].times[0] + paths[0].times[-1]) / 2 + random.uniform(-1, 1)
        x, ends = random.uniform(0.4, 0.6) * WIDTH, np.array([-size[1] / 2 - MARGIN, HEIGHT + size[1] / 2 + MARGIN])
        ends = ends[:: 1 if random.random() < 0.5 else -1]
        paths.append(Path2D(size, [(middle - fast / 2, x, ends[0]), (middle + fast / 2, x, ends[1])], random))
    earliest = min(path.times[0] for path in paths)
    for path in paths:
        path.times += start - earliest
    return paths


def draw_room(random):
    """Return a wall and a floor with some texture, float32 (HEIGHT, WIDTH, 3)."""
    room = np.empty((HEIGHT, WIDTH, 3), np.float32)
    edge = int(random.uniform(0.6, 0.8) * HEIGHT)
    wall = random.uniform(90, 190)
    room[:edge] = wall + random.uniform(-15, 15, 3)
    room[edge:] = wall - random.uniform(25, 50) + random.uniform(-15, 15, 3)
    for side, strength in ((6, 10), (40, 5)):
        grain = random.normal(0, strength, (HEIGHT // side + 2, WIDTH // side + 2, 1)).astype(np.float32)
        room += cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None]
    return room * np.linspace(0.9, 1.1, WIDTH, dtype=np.float32)[:, None]


def paste(frame, photo, opacity, x, y):
    """Draw a photo with its left upper corner at (x, y), which may lie outside of the frame."""
    height, width = photo.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, WIDTH), min(y + height, HEIGHT)
    if left >= right or top >= bottom:
        return
    part = np.s_[top - y : bottom - y, left - x : right - x]
    frame[top:bottom, left:right] += opacity[part] * (photo[part] - frame[top:bottom, left:right])


def light(count, random):
    """Return the brightness of each frame: it swings slowly, and a lamp goes on or off for some seconds."""
    seconds = np.arange(count) / FPS
    swing = 1 + 0.06 * np.sin(2 * np.pi * seconds / random.uniform(6, 12) + random.uniform(0, 6))
    begin = random.uniform(0.2, 0.6) * seconds[-1]
    step = random.choice([-0.12, 0.12])
    return swing + step * np.interp(seconds, begin + np.array([0, 0.4, 4, 4.4]), [0, 1, 1, 0])


def generate(kind, seed, out, *, photos=PHOTOS, garments=9, cut_out=False):
    """Write the video `out` and its truth beside it; return the truth."""
    random = np.random.default_rng([seed, kind == "crossing"])
    chosen = choose_photos(photos, garments, random)
    pictures = [load_garment(path, random, cut_out) for path in chosen]
    sizes = [(photo.shape[1], photo.shape[0]) for photo, _ in pictures]
    paths = {"separated": separated_paths, "crossing": crossing_paths}[kind](sizes, random)
    count = int((max(path.times[-1] for path in paths) + 0.5) * FPS)
    room, brightness, noise = draw_room(random), light(count, random), random.uniform(3, 5)
    corners = [np.rint(path.boxes(np.arange(count))[:, :2]).astype(int) for path in paths]
    drawn = random.permutation(garments)

    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise ValueError(f"{out}: cannot be written; the name must end in .mp4")
    for number in range(count):
        frame = room.copy()
        for index in drawn:
            paste(frame, *pictures[index], *corners[index][number])
        frame = frame * brightness[number] + noise * random.standard_normal(frame.shape, np.float32)
        writer.write(frame.clip(0, 255).astype(np.uint8))
    writer.release()

    truth = {
        "video": {"width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": count, "seconds": count / FPS},
        "tracks": [true_track(*each) for each in zip(range(1, garments + 1), chosen, sizes, corners)],
    }
    out.with_suffix(".truth.json").write_text(json.dumps(truth))
    return truth


def true_track(number, photo, size, corners):
    """Return what `tracking.track` should find of one garment."""
    frames = np.arange(len(corners))
    start, end = corners.clip(0), np.minimum(corners + size, (WIDTH, HEIGHT))
    sides = (end - start).clip(0)
    seen = sides.prod(1) >= VISIBLE * size[0] * size[1]
    boxes = np.column_stack([frames, start, sides])[seen].tolist()
    first, last = boxes[0][0] / FPS, boxes[-1][0] / FPS
    name = f"{photo.parent.name}/{photo.name}"
    return {"id": number, "class": photo.parent.name, "photo": name, "first": first, "last": last, "boxes": boxes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("separated", "crossing"), default="separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="build/video.mp4", help="the video to write (default: %(default)s)")
    parser.add_argument("--photos", default=PHOTOS, help="folders of photos, one a class (default: %(default)s)")
    parser.add_argument("--garments", type=int, choices=range(2, 31), default=9, metavar="2…30")
    parser.add_argument("--cut-out", action="store_true", help="cut the garments out of their photos")
    arguments = parser.parse_args()
    try:
        truth = generate(**vars(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"generate_video.py: {error}")
    megabytes = Path(arguments.out).stat().st_size / 1e6
    print(f"{arguments.out}: {arguments.garments} garments in {truth['video']['seconds']:.0f} s, {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
