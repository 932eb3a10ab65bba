"""Make many photos of the repository's few, which are CC0: python make_photos.py FOLDER COUNT

Each is another crop, turn and brightness, and the same one every time. What is in the folder already stays.
"""

import random
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from PIL import Image, ImageEnhance
from tqdm import tqdm

SOURCES = sorted((Path(__file__).resolve().parents[2] / "tests/photos").rglob("*.jpg"))


def make(folder, number):
    """Write the photo of a number, unless it is there."""
    source = SOURCES[number % len(SOURCES)]
    path = Path(folder, f"{number // 1000:03}", f"{source.stem}-{number:06}.jpg")
    if path.exists():
        return
    chance = random.Random(number)
    photo = (
        Image.open(source).convert("RGB").rotate(chance.uniform(-5, 5), Image.Resampling.BILINEAR, fillcolor="white")
    )
    width, height = photo.size
    left, top, right, bottom = (chance.uniform(0, 0.1) for _ in range(4))
    photo = photo.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))
    if chance.random() < 0.5:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    photo = ImageEnhance.Brightness(photo.resize((width, height))).enhance(chance.uniform(0.8, 1.2))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    photo.save(part, "JPEG", quality=85)
    part.replace(path)


def main():
    folder, count = sys.argv[1], int(sys.argv[2])
    with ProcessPoolExecutor() as pool:
        made = pool.map(make, repeat(folder, count), range(count), chunksize=50)
        for _ in tqdm(made, total=count, unit=" photos", desc=folder):
            pass


if __name__ == "__main__":
    main()
