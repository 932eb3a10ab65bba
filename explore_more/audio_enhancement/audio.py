"""Read and write recordings block by block with PyAV, whatever their format, rate and channels."""

import os

import av
import numpy as np

import limits
from errors import request_error
from formats import KINDS

# The formats that may be read, by FFmpeg's names. None of them can open another file or address, as a playlist can.
READ = {"format_whitelist": "mov,matroska,webm,ogg,mp3,wav,flac,aac,amr", "protocol_whitelist": "none"}


KIND_OF_DEMUXER = {"mov": "m4a", "matroska": "webm", "aac": "m4a", "amr": "3gp"}
# Codecs that the target keeps from the source. AMR and Vorbis are missing: they have no good free encoder.
KEPT_CODECS = {"m4a": ["alac"], "wav": ["pcm_s24le", "pcm_s32le", "pcm_f32le"]}
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
BIT_RATE = 96_000  # bit/s for each channel of a lossy format

av.logging.set_level(None)


class Source:
    """A recording that is open for reading: its properties, and its samples, which can be read once."""

    def __init__(self, file):
        """Open a seekable binary file; raise RequestError if it has no readable sound."""
        if is_cut_off(file):
            raise truncated()
        try:
            self.container = av.open(file, options=READ)
        except (av.error.FFmpegError, ValueError) as error:
            raise unreadable(file) from error
        self.stream = self.container.streams.best("audio")
        if self.stream is None:
            raise request_error("no_audio", "The file holds no sound; send a recording, or a video that has sound.")
        codec = self.stream.codec_context
        if codec is None or codec.codec_tag in ("drms", "enca"):
            raise encrypted()
        self.rate, self.channels, self.codec = codec.sample_rate, codec.channels, codec.name
        self.bits = 16 if codec.format is None or codec.format.bits <= 16 else 24
        self.check()

    def check(self):
        if not limits.MIN_RATE <= self.rate <= limits.MAX_RATE:
            allowed = f"{limits.MIN_RATE:,} to {limits.MAX_RATE:,} Hz are allowed"
            raise request_error("unsupported_rate", f"The sample rate is {self.rate:,} Hz; {allowed}.")
        if not 1 <= self.channels <= limits.MAX_CHANNELS:
            message = f"The recording has {self.channels} channels; at most {limits.MAX_CHANNELS} are allowed."
            raise request_error("too_many_channels", message)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.container.close()

    @property
    def kind(self):
        """The format of the recording, as a key of KINDS."""
        demuxer = self.container.format.name.split(",")[0]
        if demuxer == "mov" and self.container.metadata.get("major_brand", "").startswith("3g"):
            return "3gp"
        return KIND_OF_DEMUXER.get(demuxer, demuxer)

    @property
    def seconds(self):
        """The length in seconds that the file declares, or None."""
        if self.stream.duration is not None:
            return float(self.stream.duration * self.stream.time_base)
        # If the file has other streams too, it may be longer than its sound.
        alone = len(self.container.streams) == 1 and self.container.duration is not None
        return self.container.duration / 1e6 if alone else None

    def blocks(self, rate):
        """Yield float32 arrays of shape (channels, samples) at `rate`; raise RequestError."""
        layout = LAYOUTS[self.channels]
        resampler, key, decoded, damaged = None, None, 0.0, 0
        for packet in self.container.demux(self.stream):
            if packet.has_sidedata("encryption_info"):
                raise encrypted()
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                decoded += frame.samples / frame.sample_rate
                if len(frame.layout.channels) != self.channels:
                    message = "The number of channels changes within the recording; export it with a fixed one."
                    raise request_error("undecodable", message)
                if (frame.format.name, frame.sample_rate) != key:  # changes within files that were joined
                    yield from flush(resampler)
                    key = frame.format.name, frame.sample_rate
                    resampler = av.AudioResampler("fltp", layout, rate)
                yield from resample(resampler, unnamed(frame, layout))
        yield from flush(resampler)
        if not decoded:
            raise undecodable() if damaged else empty()
        if self.seconds is not None and decoded < 0.98 * self.seconds - 0.5:
            raise truncated()


class Target:
    """A recording that is open for writing."""

    def __init__(self, file, kind, source, rate=None):
        """Open a seekable binary file for a recording like `source`; raise RequestError."""
        self.kind = KINDS[kind]
        codec = source.codec if source.codec in KEPT_CODECS.get(kind, ()) else self.kind.codec
        if kind == "mp3" and source.channels > 2:
            raise request_error("too_many_channels", 'MP3 can have at most two channels; ask for another "format".')
        self.rate = choose_rate(av.Codec(codec, "w").audio_rates, rate, source.rate)
        self.container = av.open(file, "w", format=self.kind.muxer)
        self.stream = self.container.add_stream(codec, rate=self.rate, layout=LAYOUTS[source.channels])
        if self.kind.codec in ("aac", "libmp3lame", "libopus") and codec != "alac":
            self.stream.bit_rate = BIT_RATE * source.channels
        if codec in ("flac", "alac"):
            planar = "p" if codec == "alac" else ""
            self.stream.format = f"s{16 if source.bits == 16 else 32}{planar}"
        self.layout, self.written = LAYOUTS[source.channels], 0

    def write(self, samples, rate):
        """Append float32 samples of shape (channels, samples) at `rate`."""
        if not samples.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self.layout)
        frame.sample_rate, frame.pts = rate, self.written
        self.written += samples.shape[1]
        self.container.mux(self.stream.encode(frame))

    def close(self):
        """Write the remaining samples and the file's index."""
        self.container.mux(self.stream.encode(None))
        self.container.close()


def unnamed(frame, layout):
    """Return a frame without its timestamp, and with the standard layout for its number of channels."""
    frame.pts = None
    if frame.layout.name == layout:
        return frame
    array = frame.to_ndarray()
    renamed = av.AudioFrame.from_ndarray(array, format=frame.format.name, layout=layout)
    renamed.sample_rate = frame.sample_rate
    return renamed


def resample(resampler, frame):
    for piece in resampler.resample(frame):
        yield piece.to_ndarray()


def flush(resampler):
    if resampler is not None:
        yield from resample(resampler, None)


def choose_rate(supported, wanted, source):
    """Return the rate to write: the wanted one, else the source's, else the next higher one that the codec supports."""
    if wanted is not None:
        if supported is not None and wanted not in supported:
            rates = ", ".join(map(str, sorted(supported)))
            raise request_error("unsupported_rate", f'The format supports only these values of "sample_rate": {rates}.')
        return wanted
    if supported is None or source in supported:
        return source
    return min((rate for rate in supported if rate > source), default=max(supported))


def is_cut_off(file):
    """Return whether a WAV or Ogg file is shorter than its own headers say.

    FFmpeg reads a WAV file to its end, whatever the header says. An Ogg file is cut off if its last page is.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16))
    tail = file.read()
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    if head[:4] == b"RIFF":
        declared = int.from_bytes(head[4:8], "little")
        return declared < 0x7FFFFF00 and declared > size  # a recorder that cannot seek back leaves the maximum
    if head[:4] == b"OggS":
        page = tail[tail.rfind(b"OggS") :]  # https://www.rfc-editor.org/rfc/rfc3533#section-6
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    return False


def unreadable(file):
    """Return the RequestError for a file that cannot be opened."""
    file.seek(0)
    head = file.read(12)
    if not head:
        return empty()
    if head[4:8] == b"ftyp":
        return truncated()
    return request_error("unsupported_format", f"The format is unknown or damaged; send {', '.join(KINDS)}.")


def empty():
    return request_error("empty_audio", "The recording is empty; send one that has sound.")


def undecodable():
    return request_error("undecodable", "The recording is damaged and cannot be decoded; export it again.")


def truncated():
    return request_error("truncated", "The end of the recording is missing; send the whole file.")


def encrypted():
    return request_error("encrypted", "The recording is encrypted; send it without copy protection.")
