"""Take an inventory of a video on this machine: python run.py [VIDEO] [--out FOLDER]

Without a video, one is generated from the photos that the repository has. What comes out: the inventory, here and as
inventory.json, the video with boxes and names, annotated.webm, and a picture of when each garment was seen,
timeline.png.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import drawing
import generate_video
import recognition
import tracking
from description import describe
from errors import RequestError


def show(text, share):
    """Print how far a stage is, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text} {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)


def take_inventory(video, out):
    """Write inventory.json, annotated.webm and timeline.png to the folder `out`; return the inventory."""
    result = tracking.track(video, progress=lambda share: show("following garments", share))
    for warning in result["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    tracks = result["tracks"]
    crops = tracking.crops(video, tracks)
    garments = []
    for done, track in enumerate(tracks, 1):
        found = recognition.recognise(crops[track["id"]])
        garments.append({**{name: track[name] for name in ("id", "first", "last")}, **found})
        show("recognising garments", done / len(tracks))
    names = {each["id"]: each["class"] + ("" if each["sure"] else "?") for each in garments}
    print("drawing", file=sys.stderr)
    drawing.annotate(video, tracks, names, out / "annotated.webm")
    drawing.timeline(tracks, names, crops, out / "timeline.png")
    print("describing", file=sys.stderr)
    inventory = {"video": result["video"], "garments": garments, **describe(garments)}
    (out / "inventory.json").write_text(json.dumps(inventory, indent=1))
    return inventory


def print_inventory(inventory):
    """Print a line for each garment and its sentence."""
    print(inventory["summary"])
    for garment in inventory["garments"]:
        seen = f"{garment['first']:5.1f} s to {garment['last']:5.1f} s"
        name = garment["class"] if garment["sure"] else f"perhaps {garment['class']}"
        sentence = inventory["sentences"][str(garment["id"])]["sentence"]
        print(f"{garment['id']:3}  {seen}  {name} ({garment['confidence']:.0%}): {sentence}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", help="MP4, MOV, WebM, Matroska or AVI (default: a generated one)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder to write to (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    video = arguments.video
    if video is None:
        video = arguments.out / "video.mp4"
        print("generating a video of 9 garments", file=sys.stderr)
        generate_video.generate("crossing", 1, video)
    started = time.perf_counter()
    try:
        inventory = take_inventory(video, arguments.out)
    except (RequestError, OSError) as error:
        sys.exit(f"run.py: {video}: {error}")
    print_inventory(inventory)
    seconds = time.perf_counter() - started
    print(f"{inventory['video']['seconds']:.0f} s of video took {seconds:.0f} s.")
    for name in ("inventory.json", "annotated.webm", "timeline.png"):
        path = arguments.out / name
        print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
