"""Make the folder of children's clothes that train_and_convert.ipynb reads as EXTRA_PHOTOS.

python notebooks/select_extra_photos.py CLONE FOLDER

CLONE is a clone of https://github.com/alexeygrigorev/clothing-dataset (CC0 1.0). The script copies the photos of
children's clothes in the ten classes to FOLDER/<class>/<photo>.jpg and writes their senders to FOLDER/senders.csv. It
leaves out sender 204 and a quarter of the other senders, chosen by the SHA-1 of their numbers. You can test a model on
the photos of the senders that are left out.
"""

import csv
import hashlib
import shutil
import sys
from pathlib import Path

CLASSES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")


def is_left_out(sender):
    """Return whether to leave out a sender's photos, so that neither training nor any choice sees them."""
    return sender == "204" or hashlib.sha1(sender.encode()).digest()[0] % 4 == 3


def select(rows):
    """Return the wanted rows of images.csv as {photo's name in the folder: row}, sorted by name."""
    wanted = {}
    for row in rows:
        label = row["label"].lower()
        if row["kids"] == "True" and label in CLASSES and not is_left_out(row["sender_id"]):
            wanted[f"{label}/{row['image']}.jpg"] = row
    return dict(sorted(wanted.items()))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    clone, folder = map(Path, sys.argv[1:])
    if not (clone / "images.csv").is_file():
        sys.exit(f"select_extra_photos.py: {clone}: no images.csv in this folder; clone the dataset there")
    with (clone / "images.csv").open() as table:
        wanted = select(csv.DictReader(table))
    for name, row in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clone / "images" / f"{row['image']}.jpg", folder / name)
    with (folder / "senders.csv").open("w", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["photo", "sender_id"])
        writer.writerows([name, row["sender_id"]] for name, row in wanted.items())
    print(f"{len(wanted)} photos in {folder}")


if __name__ == "__main__":
    main()
