"""The formats that recordings are written in."""

from typing import NamedTuple


class Kind(NamedTuple):
    """A format that can be written: FFmpeg's muxer and encoder, and the media type."""

    muxer: str
    codec: str
    media_type: str


KINDS = {
    "m4a": Kind("ipod", "aac", "audio/mp4"),
    "mp3": Kind("mp3", "libmp3lame", "audio/mpeg"),
    "webm": Kind("webm", "libopus", "audio/webm"),
    "ogg": Kind("ogg", "libopus", "audio/ogg"),
    "wav": Kind("wav", "pcm_s16le", "audio/wav"),
    "flac": Kind("flac", "flac", "audio/flac"),
    "3gp": Kind("3gp", "aac", "audio/3gpp"),
}
