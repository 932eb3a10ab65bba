"""What a run ends with: a table with a row for each photo, a summary, and a sheet of examples."""

import csv
import io
import json
import math
import random
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from batch import read, unpack
from errors import RequestError
from image_source import decode
from lambda_function import CLASSES
from storage import Throttled

METRICS = Path(__file__).resolve().parents[2] / "metrics.json"
EXAMPLES = 8  # of each class
TILE, GAP, MARGIN = 120, 6, 90  # pixels


def calibration():
    """Return the temperature that makes probabilities of scores, and the probability below which one is unsure."""
    metrics = json.loads(METRICS.read_text())
    return metrics["temperature"], metrics["not sure below"]


class Report:
    """Rows of a table, as batches come in; what they amount to, and some of them as examples."""

    def __init__(self, file):
        self.table = csv.writer(file)
        self.table.writerow(["key", "class", "probability", *CLASSES, "error"])
        self.temperature, self.threshold = calibration()
        self.classes, self.failures, self.unsure = Counter(), Counter(), 0
        self.examples, self.seen = {}, Counter()
        self.random = random.Random(0)

    def add(self, key, scores=None, error=None):
        """Write the row of a photo."""
        if scores is None:
            self.failures[error] += 1
            self.table.writerow([key, "", "", *[""] * len(CLASSES), error])
            return
        powers = [math.exp((score - max(scores)) / self.temperature) for score in scores]
        probability = max(powers) / sum(powers)
        name = CLASSES[powers.index(max(powers))]
        self.table.writerow([key, name, f"{probability:.4f}", *scores, ""])
        self.classes[name] += 1
        self.keep(name, key, probability)
        if probability < self.threshold:
            self.unsure += 1
            self.keep("not sure", key, probability)

    def keep(self, group, key, probability):
        """Keep a photo as an example, so that in the end each of a group had the same chance."""
        self.seen[group] += 1
        examples = self.examples.setdefault(group, [])
        if len(examples) < EXAMPLES:
            examples.append((key, probability))
        elif (place := self.random.randrange(self.seen[group])) < EXAMPLES:
            examples[place] = (key, probability)

    def summary(self):
        done = sum(self.classes.values())
        return {
            "photos": done + sum(self.failures.values()),
            "classified": done,
            "unsure": self.unsure,
            "classes": dict(sorted(self.classes.items())),
            "failures": dict(sorted(self.failures.items())),
        }

    def sheet(self, place):
        """Return a JPEG with a row of examples for each class, or None without any."""
        groups = [group for group in [*CLASSES, "not sure"] if group in self.examples]
        if not groups:
            return None
        sheet = Image.new("RGB", (MARGIN + EXAMPLES * (TILE + GAP), len(groups) * (TILE + GAP) + GAP), "white")
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
        for row, group in enumerate(groups):
            y = GAP + row * (TILE + GAP)
            draw.text((GAP, y), f"{group}\n{self.seen[group]:,}", "black", font)
            for column, (key, probability) in enumerate(self.examples[group]):
                x = MARGIN + column * (TILE + GAP)
                sheet.paste(tile(place, key), (x, y))
                draw.text((x + 4, y + 2), f"{probability:.0%}", "white", font, stroke_width=2, stroke_fill="black")
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=85)
        return file.getvalue()


def tile(place, key):
    """Return a photo as a square, or a grey square where it cannot be read any more."""
    square = Image.new("RGB", (TILE, TILE), "lightgrey")
    try:
        photo = decode(read(str(place), key))
    except (RequestError, Throttled):
        return square
    photo.thumbnail((TILE, TILE))
    square.paste(photo, ((TILE - photo.width) // 2, (TILE - photo.height) // 2))
    return square


def write(report, batches, results):
    """Add the rows of all batches to a report, in the run's order: photos without a result are not done."""
    for batch in batches:
        rows = unpack(results[batch["number"]])[0] if batch["number"] in results else []
        for row in rows or [{"key": key, "error": "not_done"} for key in batch["keys"]]:
            report.add(**row)
