"""Compare the function with other ways to remove noise, and plot the scores: python quality.py [--plot-only]

Speech: Debian's pocketsphinx-testdata (apt-get install pocketsphinx-testdata). Writes quality.json and two plots.
"""

import argparse
import io
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

HERE = Path(__file__).parent
SPEECH = Path("/usr/share/pocketsphinx/test/data")
RATE = 48_000  # of the mixtures; phones record at this rate
SCORED = 16_000  # of the speech; PESQ and STOI score at this rate
CLIPS = 9
LEVELS = (0, 5, 10)  # dB of speech over noise
MEASURES = ("SI-SDR", "PESQ", "STOI")


def read(path):
    """Return a mono recording at 48 kHz; `.raw` files of the package are 16-bit samples at 16 kHz."""
    if path.suffix == ".raw":
        return resampled(np.fromfile(path, "<i2").astype(np.float32) / 32768, SCORED, RATE)
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        frames = [*container.decode(audio=0), None]
        return np.concatenate([piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)])


def speech():
    """Return nine overlapping clips of 8 seconds, from five sentences that a volunteer of LibriVox reads."""
    sentences = np.concatenate([read(path) for path in sorted(SPEECH.glob("librivox/*.wav"))])
    return [np.roll(sentences, -len(sentences) * clip // CLIPS)[: 8 * RATE] for clip in range(CLIPS)]


def make_noises():
    """Return {name: function(seed, length)}; each function makes a noise."""
    recording = read(HERE / "samples/noise.wav")
    others = [read(SPEECH / f"{name}.raw") for name in ("goforward", "numbers", "something", "tidigits/dhd.2934z")]
    others += [read(path) for path in sorted(SPEECH.glob("cards/*.wav"))]

    def seconds(length):
        return np.arange(length) / RATE

    def hum(_, length):
        return sum(np.sin(2 * np.pi * 50 * n * seconds(length)) / n for n in (1, 2, 3, 5, 7, 9, 11))

    def music(_, length):
        """C, a minor, F, G: half a second each, of decaying harmonics."""
        chords = [(261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7)]
        t = seconds(RATE // 2)
        bars = [sum(np.sin(2 * np.pi * f * n * t) / n for f in chord for n in range(1, 9)) for chord in chords]
        return np.resize(np.concatenate([bar * np.exp(-3 * t) for bar in bars]), length)

    def babble(seed, length):
        """Six of nine recordings of other people, all at once."""
        chosen = np.random.default_rng(seed).permutation(len(others))[:6]
        return sum(np.resize(others[n], length) / np.std(others[n]) for n in chosen)

    return {
        "white": lambda seed, length: np.random.default_rng(seed).standard_normal(length),
        "hum": hum,
        "music": music,
        "babble": babble,
        "recording": lambda seed, length: np.resize(np.roll(recording, 4000 * seed), length),
    }


def mix(voice, noise, level):
    """Return a voice with noise `level` dB below it."""
    scale = np.sqrt(np.mean(voice**2) / np.mean(noise**2) / 10 ** (level / 10))
    return (voice + scale * noise).astype(np.float32)


def resampled(samples, rate, target):
    from scipy.signal import resample_poly  # noqa: PLC0415

    return resample_poly(samples, target, rate).astype(np.float32)


def ours(noisy):
    """Return the samples as the function enhances them, by way of a WAV file."""
    from enhance import enhance  # noqa: PLC0415

    file, target = io.BytesIO(), io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(noisy[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    enhance(file, target)
    target.seek(0)
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(target) as container:
        frames = [*container.decode(audio=0), None]
        return np.concatenate([piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)])


def rnnoise(noisy):
    from pyrnnoise import RNNoise  # noqa: PLC0415

    samples = (noisy[None] * 32767).clip(-32768, 32767).astype(np.int16)
    pieces = [np.atleast_2d(piece)[0] for _, piece in RNNoise(sample_rate=RATE).denoise_chunk(samples)]
    return np.concatenate(pieces).astype(np.float32) / 32768


def noisereduce(noisy):
    from noisereduce import reduce_noise  # noqa: PLC0415

    return reduce_noise(y=noisy, sr=RATE)


WAYS = {"noisy": lambda noisy: noisy, "ours": ours, "RNNoise": rnnoise, "noisereduce": noisereduce}


def si_sdr(reference, estimate):
    """Return the scale-invariant signal-to-distortion ratio in dB: https://arxiv.org/abs/1811.02508, (3)"""
    reference, estimate = reference - reference.mean(), estimate - estimate.mean()
    target = (estimate @ reference) / (reference @ reference) * reference
    return float(10 * np.log10((target @ target) / ((estimate - target) @ (estimate - target))))


def align(reference, estimate, most=3600):
    """Return both at equal length, without the estimate's delay of at most 75 ms, which not all ways report."""
    from scipy.signal import correlate  # noqa: PLC0415

    length = min(len(reference), len(estimate))
    reference, estimate = reference[:length], estimate[:length]
    correlation = correlate(estimate, reference, method="fft")
    middle = length - 1
    delay = int(np.argmax(correlation[middle - most : middle + most + 1])) - most
    if delay >= 0:
        return reference[: length - delay], estimate[delay:]
    return reference[-delay:], estimate[:delay]


def score(voice, estimate):
    from pesq import pesq  # noqa: PLC0415
    from pystoi import stoi  # noqa: PLC0415

    voice, estimate = align(voice, estimate)
    distortion = si_sdr(voice, estimate)
    voice, estimate = (resampled(samples, RATE, SCORED) for samples in (voice, estimate))
    return [distortion, pesq(SCORED, voice, estimate, "wb"), float(stoi(voice, estimate, SCORED))]


def measure_mixture(task):
    clip, kind, level = task
    voice = speech()[clip]
    noisy = mix(voice, make_noises()[kind](clip, len(voice)), level)
    return {way: score(voice, clean(noisy)) for way, clean in WAYS.items()}


def mean_of(scores):
    return {way: np.round(np.mean([result[way] for result in scores], axis=0), 3).tolist() for way in WAYS}


def measure(processes):
    """Return the mean scores of all mixtures and of each noise, and the scores of speech without added noise."""
    kinds = list(make_noises())
    tasks = [(clip, kind, level) for kind in kinds for level in LEVELS for clip in range(CLIPS)]
    scores = []
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:  # FFmpeg does not survive a fork
        for result in pool.map(measure_mixture, tasks):
            scores.append(result)
            print(f"\r{len(scores)} of {len(tasks)} mixtures", end="", file=sys.stderr)
    by_noise = {k: mean_of([result for task, result in zip(tasks, scores, strict=True) if task[1] == k]) for k in kinds}
    sentences = np.concatenate(speech()[::3])
    once = ours(sentences)
    clean = {"as recorded": si_sdr(*align(sentences, once)), "enhanced before": si_sdr(*align(once, ours(once)))}
    return {"mixtures": len(tasks), "measures": MEASURES, "mean": mean_of(scores), "noises": by_noise, "clean": clean}


def plot(results):
    """Write spectrograms of the sample before and after, and the table as bars."""
    import matplotlib  # noqa: PLC0415

    matplotlib.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    noisy = read(HERE / "samples/noisy.m4a")
    figure, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    for ax, title, samples in zip(axes, ("Before", "After"), (noisy, ours(noisy)), strict=True):
        ax.specgram(samples, NFFT=1024, Fs=RATE, noverlap=768, vmin=-130, vmax=-40)
        ax.set(title=title, ylabel="Hz", ylim=(0, SCORED // 2))
    axes[1].set_xlabel("seconds")
    figure.savefig(HERE / "spectrograms.png", dpi=80)
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.5), layout="constrained")
    for ax, name, values in zip(axes, MEASURES, zip(*results["mean"].values(), strict=True), strict=True):
        ax.bar(list(WAYS), values)
        ax.set_title(name)
        ax.tick_params(axis="x", rotation=45)
    figure.savefig(HERE / "quality.png", dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--plot-only", action="store_true", help="only plot the scores in quality.json")
    arguments = parser.parse_args()
    if not arguments.plot_only:
        (HERE / "quality.json").write_text(json.dumps(measure(arguments.processes), indent=1) + "\n")
    results = json.loads((HERE / "quality.json").read_text())
    plot(results)
    for way, values in results["mean"].items():
        print(f"{way:12}", *values)
