"""Read the frames of a video, within limits, upright and with their times."""

import os

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")  # a file may name no other address

import cv2

from errors import request_error

MAX_SECONDS = 300
MAX_FRAMES = MAX_SECONDS * 60
MAX_PIXELS = 4096 * 2304

# How the containers begin that FFmpeg is given; playlists, images and the like it would open too.
CONTAINERS = {"MP4 or MOV": (4, b"ftyp"), "WebM or Matroska": (0, b"\x1a\x45\xdf\xa3"), "AVI": (8, b"AVI ")}


def open_video(path):
    """Return a cv2.VideoCapture; raise RequestError for a file that is no video."""
    with open(path, "rb") as file:
        start = file.read(16)
    if not any(start[offset:].startswith(magic) for offset, magic in CONTAINERS.values()):
        kinds = ", ".join(CONTAINERS)
        what = "The file is not a video" if start else "The file is empty"
        raise request_error("unsupported_format", f"{what}; send one of these: {kinds}.")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise request_error("undecodable", "The video cannot be opened: it is broken, or was not uploaded whole.")
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if pixels > MAX_PIXELS:
        raise request_error("too_many_pixels", f"A frame may have {MAX_PIXELS:,} pixels at most; scale the video down.")
    return capture


def read_frames(path, wanted=lambda number: True):
    """Yield (number, seconds, image) of each frame, where image is BGR uint8, or None for a frame that is not wanted.

    Phones write which way is up: the images are upright. Raise RequestError when no frame decodes or they are too many.
    """
    capture = open_video(path)
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if 1 <= fps <= 1000 else 25.0
    number, last = 0, -1.0
    try:
        while capture.grab():
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if seconds <= last:  # some files carry no times
                seconds = last + 1 / fps
            if seconds > MAX_SECONDS or number >= MAX_FRAMES:
                raise request_error("too_large", f"A video may last {MAX_SECONDS} seconds at most; cut it.")
            image = None
            if wanted(number):
                decoded, image = capture.retrieve()
                if not decoded:
                    continue
            yield number, seconds, image
            number, last = number + 1, seconds
    finally:
        capture.release()
    if number == 0:
        raise request_error("undecodable", "The video has no frame that can be decoded.")
