"""interpreter.py: one thread for each core, and XNNPACK, or a warning without it."""

import os
import subprocess

import keras
import numpy as np
import pytest
from conftest import ROOT, python_of

import interpreter
from convert_model import to_tflite


@pytest.mark.parametrize("megabytes, threads", [("128", 1), ("1769", 1), ("3008", 1), ("3538", 2), ("10240", 4)])
def test_lambda_gets_a_thread_for_each_core_that_it_sells(megabytes, threads, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", megabytes)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert interpreter.thread_count() == threads


def test_elsewhere_every_core_gets_a_thread(monkeypatch):
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", raising=False)
    assert interpreter.thread_count() == os.cpu_count()


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx avx2 fma\n", ["AVX2"]),
        ("flags\t\t: fpu avx2 avx512f avx512bw avx512_vnni\n", ["AVX2", "AVX-512", "VNNI"]),
        ("flags\t\t: fpu avx2 avx_vnni\n", ["AVX2", "VNNI"]),
        ("BogoMIPS\t: 243.75\nFeatures\t: fp asimd asimddp\n", ["dotprod"]),
        ("Features\t: fp asimd asimddp i8mm\n", ["dotprod", "i8mm"]),
        ("model name\t: flags\n", []),
    ],
)
def test_the_processor_says_which_instructions_it_has(cpuinfo, expected, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{cpuinfo}\nprocessor\t: 1\nflags\t\t: avx512f\n" if expected else cpuinfo)
    assert interpreter.instructions(path) == expected


def test_where_no_processor_is_described_no_instruction_is_known(tmp_path):
    assert interpreter.instructions(tmp_path / "cpuinfo") == []


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A convolution of ones: the answer for a photo of ones is 3."""
    layer = keras.layers.Conv2D(1, 1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((4, 4, 3)), layer, keras.layers.GlobalAveragePooling2D()])
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    path.write_bytes(to_tflite(model, "none"))
    return path


@pytest.mark.parametrize(
    "obstacle",
    [
        "",
        "interpreter.ctypes = types.SimpleNamespace(CDLL=lambda path: object())",
        "interpreter.XNNPackDelegate.__init__ = lambda self, threads: setattr(self, 'pointer', None)",
    ],
)
def test_python_3_8_answers_with_and_without_xnnpack(obstacle, model_file):
    code = f"""
import types, numpy, interpreter
{obstacle}
print(interpreter.load_model({str(model_file)!r})(numpy.ones((1, 4, 4, 3), 'float32'))[0].tolist())
"""
    command = [python_of("3.8"), "-c", code]
    *warning, answer = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    assert answer == "[3.0]"
    assert bool(warning) == bool(obstacle)


def test_the_model_answers_here(model_file):
    assert interpreter.load_model(str(model_file))(np.ones((1, 4, 4, 3), "float32")) == 3
