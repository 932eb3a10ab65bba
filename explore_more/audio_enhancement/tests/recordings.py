"""Make recordings for the tests, in any format."""

import io

import av
import numpy as np

TONE = 440  # Hz


def tone(seconds, rate, channels=1):
    """Return float32 samples of shape (channels, samples); each channel is louder than the one before."""
    wave = np.sin(2 * np.pi * TONE * np.arange(int(seconds * rate)) / rate)
    return np.stack([wave * 0.1 * (channel + 1) for channel in range(channels)]).astype(np.float32)


def encode(samples, rate, muxer, codec, layout="mono", **options):
    """Return the bytes of a file with samples of shape (channels, samples)."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for start in range(0, samples.shape[1], 4800):
            block = np.ascontiguousarray(samples[:, start : start + 4800])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def video():
    """Return the bytes of a video without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    return file.getvalue()


def decode(data):
    """Return the samples of a file, as an array of shape (channels, samples), and its rate."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.layout.name, stream.rate)
        pieces = [piece.to_ndarray() for frame in container.decode(stream) for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray() for piece in resampler.resample(None)]
        return np.concatenate(pieces, axis=1), stream.rate
