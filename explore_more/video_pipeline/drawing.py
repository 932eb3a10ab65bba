"""Draw what was found: boxes and names on the video, and a timeline of the garments."""

import os
from collections import defaultdict
from contextlib import contextmanager

import cv2
from PIL import Image, ImageDraw, ImageFont

from video import read_frames

LONGER_SIDE, FPS = 480, 12  # of the annotated video, at most
COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#e377c2", "#808000", "#000075"]
ROW, LABEL, CHART, AXIS = 64, 190, 700, 40  # pixels of the timeline


def colour(number):
    """Return the colour of a track: red, green, blue."""
    text = COLOURS[(number - 1) % len(COLOURS)]
    return tuple(int(text[start : start + 2], 16) for start in (1, 3, 5))


def annotate(path, tracks, names, out):
    """Write the video with a box and a name for each track, VP8 in WebM, which every browser plays.

    `tracks` are those of `tracking.track`'s result, and `names` is {id: what to write on the box}.
    """
    boxes = defaultdict(list)
    for track in tracks:
        for frame, *box in track["boxes"]:
            boxes[frame].append((track["id"], box))
    writer, written, start = None, 0, None
    for frame, seconds, image in read_frames(path):
        start = seconds if start is None else start
        if writer is None:
            scale = min(1.0, LONGER_SIDE / max(image.shape[:2]))
            size = tuple(2 * round(side * scale / 2) for side in image.shape[1::-1])
            with quiet():
                writer = cv2.VideoWriter(str(out), cv2.VideoWriter_fourcc(*"VP80"), FPS, size)
            if not writer.isOpened():
                raise ValueError(f"{out}: cannot be written; the name must end in .webm")
        if (seconds - start) * FPS < written - 0.01:
            continue
        small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (3, 3), 0)  # noise costs bytes
        for number, box in boxes.get(frame, ()):
            draw_box(small, [value * scale for value in box], names.get(number, ""), colour(number)[::-1])
        while written <= (seconds - start) * FPS + 0.01:  # a slow video repeats its frames
            writer.write(small)
            written += 1
    writer.release()


@contextmanager
def quiet():
    """Keep FFmpeg from printing that WebM knows its codecs by other tags than OpenCV's."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def draw_box(image, box, name, bgr):
    """Draw a box [x, y, width, height] with its name into a BGR image."""
    x, y, width, height = map(round, box)
    cv2.rectangle(image, (x, y), (x + width, y + height), bgr, 2)
    if name:
        (wide, high), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        x = max(0, min(x, image.shape[1] - wide - 6))
        cv2.rectangle(image, (x, y), (x + wide + 6, y + high + 8), bgr, cv2.FILLED)
        cv2.putText(image, name, (x + 3, y + high + 3), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)


def timeline(tracks, names, crops, out):
    """Write a PNG with a row for each track: a view, the name and a bar from the first to the last second."""
    seconds = max([track["last"] for track in tracks], default=1.0) or 1.0
    font = ImageFont.load_default(15)
    picture = Image.new("RGB", (ROW + LABEL + CHART + 20, max(1, len(tracks)) * ROW + AXIS), "white")
    draw = ImageDraw.Draw(picture)
    left, bottom = ROW + LABEL, picture.height - AXIS
    for second in range(0, int(seconds) + 1, grid(seconds)):
        x = left + CHART * second / seconds
        draw.line([(x, 0), (x, bottom)], "#dddddd")
        draw.text((x, bottom + 8), f"{second} s", "#555555", font, anchor="ma")
    for row, track in enumerate(tracks):
        top = row * ROW
        if crops.get(track["id"]):
            view = Image.fromarray(crops[track["id"]][0])
            view.thumbnail((ROW - 6, ROW - 6))
            picture.paste(view, ((ROW - view.width) // 2, top + (ROW - view.height) // 2))
        draw.text((ROW + 6, top + ROW // 2), names.get(track["id"], ""), "black", font, anchor="lm")
        start, end = (left + CHART * track[side] / seconds for side in ("first", "last"))
        draw.rounded_rectangle([start, top + 18, max(end, start + 4), top + ROW - 18], 6, fill=colour(track["id"]))
    if not tracks:
        draw.text((ROW, ROW // 2), "No garment moves through this video.", "black", font, anchor="lm")
    picture.save(out, "PNG")


def grid(seconds):
    """Return how many seconds lie between two lines of the timeline."""
    return next((step for step in (1, 2, 5, 10, 20, 30) if seconds / step <= 12), 60)
