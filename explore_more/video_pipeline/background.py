"""Learn what a video shows without its garments, and find what differs from it in a frame."""

import cv2
import numpy as np

from video import read_frames

SIDE = 480  # the longer side of the frames that are looked at, in pixels
SAMPLES = 48
MIN_FEATURES, MIN_INLIERS = 16, 0.3
STILL = 0.7  # pixels; a camera that moves less stands on something


def shrink(image):
    """Return an image whose longer side is SIDE at most."""
    scale = SIDE / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def sample_frames(path):
    """Return about SAMPLES small frames spread over a video, and the times of all its frames."""
    samples, times, step = [], [], 1
    for number, seconds, image in read_frames(path, lambda number: number % step == 0):  # noqa: B023
        times.append(seconds)
        if image is None:
            continue
        samples.append((number, shrink(image)))
        if len(samples) == 2 * SAMPLES:
            step *= 2
            samples = samples[::2]
    shape = samples[0][1].shape
    return [image for _, image in samples if image.shape == shape], times


class Camera:
    """How a camera in a hand has moved since its first frame."""

    def __init__(self, image):
        self.first = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        points = cv2.goodFeaturesToTrack(self.first, 200, 0.02, 12)
        self.points = np.empty((0, 1, 2), np.float32) if points is None else points
        self.map = np.eye(2, 3, dtype=np.float32)

    def look(self, image):
        """Return the affine map (2, 3) from the first frame to this one; None when too little of it is seen again."""
        if len(self.points) < MIN_FEATURES:
            return None
        guess = cv2.transform(self.points, self.map).astype(np.float32)
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            self.first, gray, self.points, guess, winSize=(21, 21), maxLevel=4, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
        )
        seen = status.ravel() == 1
        if seen.sum() < MIN_FEATURES:
            return None
        cv2.setRNGSeed(0)
        new, inliers = cv2.estimateAffinePartial2D(self.points[seen], found[seen], ransacReprojThreshold=1.5)
        if new is None or inliers.sum() < MIN_INLIERS * len(self.points):
            return None
        self.map = new.astype(np.float32)
        return self.map

    @staticmethod
    def undo(image, motion):
        """Return a frame as the camera would see it had it not moved; None where it saw nothing is 0."""
        size = image.shape[1], image.shape[0]
        return cv2.warpAffine(image, motion, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def shift(motion, shape):
    """Return how far an affine map moves the middle of a frame, in pixels."""
    middle = np.array([shape[1] / 2, shape[0] / 2, 1])
    return float(np.hypot(*(motion @ middle - middle[:2])))


class Background:
    """A video without its garments: `image`, float32 (h, w, 3)."""

    def __init__(self, path):
        samples, self.times = sample_frames(path)
        self.warnings = []
        self.camera = self.find_camera(samples)
        if self.camera:
            samples = [
                Camera.undo(image, motion) for image in samples if (motion := self.camera.look(image)) is not None
            ]
        self.image = median(samples)
        bright = [image * self.gain(image.astype(np.float32)) for image in samples]
        self.image = median([image.clip(0, 255).astype(np.uint8) for image in bright])

    def find_camera(self, samples):
        """Return a Camera if it moves, else None."""
        camera = Camera(samples[0])
        motions = [camera.look(image) for image in samples]
        found = [shift(motion, samples[0].shape) for motion in motions if motion is not None]
        if len(camera.points) < MIN_FEATURES or max(found) < STILL:
            return None
        if len(found) < len(samples) / 2:
            self.warnings.append("The camera moves too much to tell garments from what is behind them; hold it still.")
            return None
        return Camera(samples[0])

    def gain(self, image):
        """Return the factor for each colour that gives a frame the light of the background."""
        step = np.s_[::4, ::4]
        ratio = (self.image[step] + 8) / (image[step] + 8)
        return np.median(ratio.reshape(-1, 3), axis=0)

    def compare(self, image):
        """Return a small frame in the background's light, how much each pixel differs, and the camera's motion."""
        motion, seen = None, None
        if self.camera:
            motion = self.camera.look(image)
            motion = self.camera.map if motion is None else motion
            seen = Camera.undo(np.full(image.shape[:2], 255, np.uint8), motion)
            image = Camera.undo(image, motion)
        image = image.astype(np.float32)
        image *= self.gain(image).astype(np.float32)
        difference = np.abs(cv2.GaussianBlur(image - self.image, (5, 5), 0)).max(2)
        if seen is not None:
            difference[cv2.erode(seen, np.ones((7, 7))) < 255] = 0
        return image, difference, motion


def median(images):
    """Return the median of images, float32; the lower one of an even number."""
    stack = np.stack(images)
    middle = (len(images) - 1) // 2
    return np.partition(stack, middle, axis=0)[middle].astype(np.float32)
