"""Remove the noise from recordings: python enhance.py IN OUT

IN and OUT are two files or two folders. With folders, every recording in IN is enhanced into OUT.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import limits
from audio import Source, Target
from deepfilter import NO_LIMIT, RATE, Denoiser
from errors import RequestError, request_error
from formats import KINDS

SUFFIXES = (*KINDS, "aac", "amr", "mp4", "mov", "opus")


def enhance(source, target, *, kind=None, rate=None, attenuation_limit=NO_LIMIT, most=None, progress=None):
    """Enhance one binary file into another, block by block; return a description of the result as a dict.

    `kind` is a key of formats.KINDS, and `rate` is in Hz; by default both are the source's own. `most` limits the
    seconds, added up over all channels. `progress` is called with the seconds that are done and the seconds in all,
    or None if the file does not declare its length. Raise RequestError.
    """
    most = limits.MAX_SECONDS if most is None else most
    with ExitStack() as stack:
        recording = stack.enter_context(Source(source))
        check_length(recording.seconds, recording.channels, most)
        kind = kind or recording.kind
        output = Target(target, kind, recording, rate)
        pool = stack.enter_context(ThreadPoolExecutor(recording.channels))  # the library can run in several threads
        denoisers = list(pool.map(Denoiser, [attenuation_limit] * recording.channels))
        for denoiser in denoisers:
            stack.enter_context(denoiser)
        done = 0
        for samples in recording.blocks(RATE):
            done += samples.shape[1]
            check_length(done / RATE, recording.channels, most)
            output.write(stacked(pool.map(Denoiser.process, denoisers, samples)), RATE)
            if progress:
                progress(done / RATE, recording.seconds)
        output.write(stacked(pool.map(Denoiser.finish, denoisers)), RATE)
        output.close()
    return {
        "format": kind,
        "content_type": output.kind.media_type,
        "sample_rate": output.rate,
        "channels": recording.channels,
        "seconds": round(done / RATE, 3),
    }


def stacked(channels):
    return np.stack(list(channels))


def check_length(seconds, channels, most):
    if seconds is not None and seconds * channels > most:
        raise request_error("too_long", f"The recording is too long; send at most {describe(most, channels)}.")


def describe(most, channels):
    seconds = most / channels
    length = f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"
    return f"{length} with {channels} channel{'s'[: channels > 1]}"


def draw_bar(name):
    """Return a progress function that draws a bar on a terminal, and nothing elsewhere."""
    drawn = None

    def draw(done, seconds):
        nonlocal drawn
        share = min(1, done / seconds) if seconds else 0
        bar = f"[{'#' * int(30 * share):30}] {share:4.0%}" if seconds else f"{done:.0f} s"
        if bar != drawn and sys.stderr.isatty():
            print(f"\r{name} {bar}", end="", file=sys.stderr, flush=True)
            drawn = bar

    return draw


def find_pairs(source, target):
    """Return (source, target) for a file, or for each recording of a folder."""
    if not source.is_dir():
        return [(source, target / source.name if target.is_dir() else target)]
    found = sorted(path for path in source.rglob("*") if path.suffix[1:].lower() in SUFFIXES)
    return [(path, target / path.relative_to(source)) for path in found]


def enhance_path(source, target, arguments):
    """Enhance a file into another, in the format that the target's suffix names; raise RequestError or OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        raise request_error("invalid_option", "IN and OUT are the same file; name another OUT.")
    suffix = target.suffix[1:].lower()
    part = target.with_name(target.name + ".part")  # so that OUT is never half a recording
    try:
        with open(source, "rb") as noisy, open(part, "wb+") as clean:
            made = enhance(
                noisy,
                clean,
                kind=suffix if suffix in KINDS else None,
                rate=arguments.sample_rate,
                attenuation_limit=arguments.attenuation_limit,
                progress=draw_bar(source.name),
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    erased = "\r\033[K" if sys.stdout.isatty() else ""
    description = (
        "{seconds:,.1f} s, {sample_rate:,} Hz, {channels} channel".format(**made) + "s"[: made["channels"] > 1]
    )
    print(f"{erased}{target}: {description}, {target.stat().st_size:,} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="IN", type=Path)
    parser.add_argument("target", metavar="OUT", type=Path)
    parser.add_argument("--sample-rate", type=int, help="in Hz (default: the recording's own)")
    parser.add_argument("--attenuation-limit", type=float, default=NO_LIMIT, help="dB of noise to remove at most")
    arguments = parser.parse_args()
    failed = False
    for source, target in find_pairs(arguments.source, arguments.target):
        try:
            enhance_path(source, target, arguments)
        except (RequestError, OSError) as error:
            failed = True
            print(f"{source}: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
