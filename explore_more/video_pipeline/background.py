"""Learn what a video shows without its garments, and find what differs from it in a frame."""

import cv2
import numpy as np

from video import read_frames

SIDE = 480  # the longer side of the frames that are looked at, in pixels
SAMPLES = 48
CELL = 30  # pixels
BLIND = np.array([3, 3, -3, -3])  # pixels beside the edges of what a camera that moves sees
MIN_FEATURES, MIN_INLIERS = 16, 0.3
DIFFERENT, LEAST_SHARE = 22, 0.06  # grey levels; share of the frames that show what lay under a garment
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
        self.first = even_light(image)
        self.points = corners(self.first)
        self.map = np.eye(2, 3, dtype=np.float32)

    def look(self, image):
        """Return the affine map (2, 3) from the first frame to this one; None when too little of it is seen again."""
        guess = cv2.transform(self.points, self.map).astype(np.float32)
        gray = even_light(image)
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


def even_light(image):
    """Return an image in grey, as bright everywhere as anywhere."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return (100 * (gray + 4) / (cv2.blur(gray, (41, 41)) + 4)).clip(0, 255).astype(np.uint8)


def corners(gray):
    """Return the best point to find again in each cell of a grid, so that a garment with a pattern gets no more."""
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(gray, (5, 5), 0), 5)
    strength[:8] = strength[-8:] = strength[:, :8] = strength[:, -8:] = 0
    points = []
    for top in range(0, gray.shape[0] - CELL + 1, CELL):
        for left in range(0, gray.shape[1] - CELL + 1, CELL):
            row, column = np.unravel_index(strength[top : top + CELL, left : left + CELL].argmax(), (CELL, CELL))
            points.append((left + column, top + row))
    return np.array(points, np.float32).reshape(-1, 1, 2)


def shift(motion, shape):
    """Return how far an affine map moves the middle of a frame, in pixels."""
    middle = np.array([shape[1] / 2, shape[0] / 2, 1])
    return float(np.hypot(*(motion @ middle - middle[:2])))


def seen(motion, shape):
    """Return the edges of what a frame shows of the first one: left, top, right, bottom."""
    corners = np.array([[[0, 0], [shape[1], shape[0]]]], float)
    left, top, right, bottom = cv2.transform(corners, cv2.invertAffineTransform(motion.astype(float))).ravel()
    return np.array([max(0, left), max(0, top), min(shape[1], right), min(shape[0], bottom)])


class Background:
    """A video without its garments: `image`, float32 (h, w, 3)."""

    def __init__(self, path):
        samples, self.times = sample_frames(path)
        self.warnings = []
        self.camera = self.find_camera(samples)
        self.edges = np.array([0, 0, *samples[0].shape[1::-1]], float)  # of what half of the frames show
        if self.camera:
            motions = [self.camera.look(image) for image in samples]
            samples = [Camera.undo(*pair) for pair in zip(samples, motions) if pair[1] is not None]
            self.edges = np.median([seen(motion, samples[0].shape) for motion in motions if motion is not None], axis=0)
        self.image = median(samples)
        bright = [image * self.gain(image.astype(np.float32)) for image in samples]
        samples = [image.clip(0, 255).astype(np.uint8) for image in bright]
        self.image = median(samples)
        self.take_up(samples)

    def find_camera(self, samples):
        """Return a Camera if it moves, else None."""
        camera = Camera(samples[0])
        motions = [camera.look(image) for image in samples]
        found = [shift(motion, samples[0].shape) for motion in motions if motion is not None]
        if len(found) < len(samples) / 2:
            self.warnings.append("The camera moves too much to tell garments from what is behind them; hold it still.")
            return None
        if np.mean([its > STILL for its in found]) < 0.1:
            return None
        return Camera(samples[0])

    def gain(self, image):
        """Return the factor for each colour that gives a frame the light of the background."""
        step = np.s_[::4, ::4]
        ratio = (self.image[step] + 8) / (image[step] + 8)
        return np.median(ratio.reshape(-1, 3), axis=0).clip(0.4, 2.5)

    def take_up(self, samples):
        """Take garments out of the background that lay still for more than half of the video, but not for all of it.

        Where such a garment is gone, frames differ from the background, but its outline is in the background alone.
        """
        stays = []  # ([region, …], [sample, …]): the samples in which one region differs
        for image in samples:
            difference = np.abs(cv2.GaussianBlur(image - self.image, (5, 5), 0)).max(2)
            for region in regions(difference > DIFFERENT):
                same = next((those for those in stays if similar(those[0][-1], region)), None)
                if same is None:
                    same = ([], [])
                    stays.append(same)
                same[0].append(region)
                same[1].append(image)
        for alike, without in stays:
            region, bare = np.mean(alike, axis=0) > 0.5, median(without)
            is_long = region.any() and len(without) >= LEAST_SHARE * len(samples)
            if is_long and outline(self.image, region) > 1.3 * outline(bare, region):
                wider = cv2.dilate(region.astype(np.uint8), np.ones((7, 7))) > 0
                self.image[wider] = bare[wider]

    def compare(self, image):
        """Return a frame small and in the background's light, how much each pixel differs, and how the camera moved.

        That is (image, difference, edges of what the camera sees, motion or None).
        """
        height, width = self.image.shape[:2]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        edges, motion = np.array([0, 0, width, height], float), None
        if self.camera:
            motion = self.camera.look(image)
            motion = self.camera.map if motion is None else motion
            its = seen(motion, image.shape)
            edges = np.concatenate([np.maximum(self.edges, its)[:2], np.minimum(self.edges, its)[2:]])
            image = Camera.undo(image, motion)
        image = image.astype(np.float32)
        image *= self.gain(image).astype(np.float32)
        difference = np.abs(cv2.GaussianBlur(image - self.image, (5, 5), 0)).max(2)
        left, top, right, bottom = (edges + BLIND * (edges != (0, 0, width, height))).astype(int)
        difference[:top] = difference[bottom:] = difference[:, :left] = difference[:, right:] = 0
        return image, difference, np.array([left, top, right, bottom], float), motion


def regions(mask):
    """Return the larger connected regions of a mask, each as a mask."""
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    return [labels == label for label in range(1, count) if stats[label, 4] >= 0.004 * mask.size]


def similar(one, other):
    """Return whether two masks are the same but for a quarter."""
    return (one & other).sum() > 0.75 * (one | other).sum()


def outline(image, region):
    """Return how strong the edges of an image are along the outline of a region."""
    gray = cv2.cvtColor(image.clip(0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
    edges = np.hypot(*(cv2.Sobel(gray, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
    ring = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))
    return float(edges[ring > 0].mean())


def median(images):
    """Return the median of images, float32; the lower one of an even number."""
    stack = np.stack(images)
    middle = (len(images) - 1) // 2
    return np.partition(stack, middle, axis=0)[middle].astype(np.float32)
