"""Recordings of every format come back in the same format, and bad ones are refused."""

import io
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recordings import decode, encode, tone, video

from enhance import enhance
from errors import RequestError
from formats import KINDS
from storage import scratch

FOLDER = Path(__file__).resolve().parent.parent
CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def run(data, **options):
    """Return the description that enhance() returns, and the file that it wrote."""
    target = io.BytesIO()
    made = enhance(io.BytesIO(data), target, **options)
    return made, target.getvalue()


@pytest.fixture(scope="module")
def samples(sample):
    return decode(sample)[0]


@pytest.mark.parametrize(
    ("muxer", "codec", "rate", "layout", "kind", "out"),
    [
        ("ipod", "aac", 44_100, "mono", "m4a", 44_100),
        ("ipod", "alac", 48_000, "stereo", "m4a", 48_000),
        ("mp4", "aac", 48_000, "5.1", "m4a", 48_000),
        ("adts", "aac", 22_050, "mono", "m4a", 22_050),
        ("mp3", "libmp3lame", 44_100, "stereo", "mp3", 44_100),
        ("mp3", "libmp3lame", 8_000, "mono", "mp3", 8_000),
        ("webm", "libopus", 48_000, "mono", "webm", 48_000),
        ("ogg", "libopus", 48_000, "mono", "ogg", 48_000),
        ("wav", "pcm_s16le", 8_000, "mono", "wav", 8_000),
        ("wav", "pcm_u8", 11_025, "mono", "wav", 11_025),
        ("wav", "pcm_f32le", 22_050, "stereo", "wav", 22_050),
        ("wav", "pcm_alaw", 8_000, "mono", "wav", 8_000),
        ("wav", "pcm_s24le", 192_000, "mono", "wav", 192_000),
        ("flac", "flac", 96_000, "stereo", "flac", 96_000),
        ("3gp", "aac", 16_000, "mono", "3gp", 16_000),
    ],
)
def test_a_recording_comes_back_as_it_came(muxer, codec, rate, layout, kind, out, samples):  # noqa: PLR0917
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    step = max(1, 44_100 // rate)
    data = encode(np.repeat(samples[:, ::step][:, :rate], channels, axis=0), rate, muxer, codec, layout)
    made, written = run(data)
    assert (made["format"], made["sample_rate"], made["channels"]) == (kind, out, channels)
    back, back_rate = decode(written)
    assert (back.shape[0], back_rate) == (channels, out)
    assert back.shape[1] / out == pytest.approx(decode(data)[0].shape[1] / rate, abs=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_any_format_can_be_asked_for(kind):
    made, written = run(encode(tone(1, 44_100), 44_100, "wav", "pcm_s16le"), kind=kind)
    assert made["format"] == kind
    assert decode(written)[0].shape[1] / made["sample_rate"] == pytest.approx(1, abs=0.1)


def test_a_rate_can_be_asked_for():
    made, written = run(encode(tone(1, 44_100), 44_100, "mp3", "libmp3lame"), kind="wav", rate=16_000)
    assert made["sample_rate"] == decode(written)[1] == 16_000


def test_the_voice_keeps_its_loudness_and_its_place(sample):
    speech = (FOLDER / "samples/speech.wav").read_bytes()
    clean, rate = decode(run(sample, kind="wav", rate=16_000)[1])
    voice, _ = decode(speech)
    length = min(clean.shape[1], voice.shape[1])
    a, b = clean[0, :length], voice[0, :length]
    assert rate == 16_000
    assert 10 * np.log10(np.mean(a**2) / np.mean(b**2)) == pytest.approx(0, abs=1)
    correlation = np.fft.irfft(np.fft.rfft(a, 2**18) * np.conj(np.fft.rfft(b, 2**18)))
    shift = (int(np.argmax(correlation)) + 2**17) % 2**18 - 2**17
    assert abs(shift) <= 2048 * 16_000 / 44_100  # at most what the sample's encoder put before it


def test_channels_stay_apart(samples):
    """A silent channel stays silent beside a loud one."""
    left = samples[:, :44_100]
    _, written = run(encode(np.concatenate([left, 0 * left]), 44_100, "wav", "pcm_f32le", "stereo"))
    back, _ = decode(written)
    assert np.abs(back[0]).max() > 0.05
    assert np.abs(back[1]).max() < 1e-4


def wav(rate, frames, declared=None, kind=1):
    size = 2 * frames if declared is None else declared
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, kind, 1, rate, 2 * rate, 2, 16, b"data", size
    )
    return head + b"\1\0" * frames


def recoded(data, old, new):
    """Return an MP4 whose sample description names another codec."""
    start = data.index(old, data.index(b"stsd"))
    return data[:start] + new + data[start + 4 :]


def half(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda sample: b"", "empty_audio"),
        (lambda sample: b"\0" * 5000, "unsupported_format"),
        (lambda sample: b"<html>not a recording</html>" * 100, "unsupported_format"),
        (lambda sample: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "unsupported_format"),
        (lambda sample: b"ffconcat version 1.0\nfile /etc/passwd\n", "unsupported_format"),
        (lambda sample: video(), "no_audio"),
        (lambda sample: wav(16_000, 0), "empty_audio"),
        (lambda sample: wav(1, 50), "unsupported_rate"),
        (lambda sample: wav(384_000, 5000), "unsupported_rate"),
        (lambda sample: wav(16_000, 1000, declared=100_000), "truncated"),
        (lambda sample: sample[:40_000], "truncated"),
        (lambda sample: half(encode(tone(3, 44_100), 44_100, "mp3", "libmp3lame")), "truncated"),
        (lambda sample: half(encode(tone(3, 48_000), 48_000, "flac", "flac")), "truncated"),
        (lambda sample: half(encode(tone(3, 48_000), 48_000, "ogg", "libopus")), "truncated"),
        (lambda sample: half(encode(tone(3, 48_000), 48_000, "webm", "libopus")), "truncated"),
        (lambda sample: encode(tone(2, 44_100), 44_100, "mp4", "aac", **CENC), "encrypted"),
        (lambda sample: recoded(sample, b"mp4a", b"drms"), "encrypted"),
        (lambda sample: encode(tone(3601, 4_000), 4_000, "wav", "pcm_s16le"), "too_long"),
        (
            lambda sample: encode(np.repeat(tone(1801, 4_000), 2, axis=0), 4_000, "wav", "pcm_s16le", "stereo"),
            "too_long",
        ),
    ],
)
def test_what_cannot_be_enhanced_is_refused_with_its_reason(make, code, sample):
    with pytest.raises(RequestError) as caught:
        run(make(sample))
    assert type(caught.value).__name__ == code
    assert str(caught.value).endswith(".") and "/" not in str(caught.value)


def test_ten_hours_are_refused_at_once_and_with_the_limit():
    """Only the beginning of the ten-hour WAV file is read; the rest is a hole."""
    file = scratch()
    size = 2 * 8_000 * 36_000
    file.write(wav(8_000, 0, declared=size))
    file.truncate(size + 44)
    with file, pytest.raises(RequestError, match="60 minutes with 1 channel"):
        enhance(file, io.BytesIO())


def test_a_length_that_no_file_declares_is_counted():
    """A browser's WebM does not declare its length; it is refused as soon as it is too long."""
    data = encode(tone(3, 48_000), 48_000, "webm", "libopus", live="1")
    made, _ = run(data, most=10.0)
    assert made["seconds"] == pytest.approx(3, abs=0.1)
    with pytest.raises(RequestError, match="2 seconds"):
        run(data, most=2.0)


def test_progress_goes_up_to_the_end():
    seen = []
    run(encode(tone(2, 44_100), 44_100, "flac", "flac"), progress=lambda done, seconds: seen.append((done, seconds)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (pytest.approx(2, abs=0.01), pytest.approx(2, abs=0.01))


def test_files_and_folders_on_the_command_line(tmp_path, sample):
    (tmp_path / "in/deeper").mkdir(parents=True)
    (tmp_path / "in/deeper/a.m4a").write_bytes(sample)
    (tmp_path / "in/broken.wav").write_bytes(b"RIFF")
    command = [sys.executable, FOLDER / "enhance.py"]
    done = subprocess.run([*command, tmp_path / "in", tmp_path / "out"], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"out/deeper/a.m4a: 6.3 s, 44,100 Hz, 1 channel, [\d,]+ bytes", done.stdout)
    assert "broken.wav: " in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.m4a"]
    subprocess.run([*command, tmp_path / "in/deeper/a.m4a", tmp_path / "b.flac"], check=True)
    assert decode((tmp_path / "b.flac").read_bytes())[1] == 44_100
