"""convert_model.py converts with every quantization, and refuses bad input without damaging a file."""

import os
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import PHOTOS, ROOT
from keras import layers
from tensorflow.lite.python.schema_py_generated import BuiltinOperator
from tensorflow.lite.tools import flatbuffer_utils

import convert_model
from convert_model import ConversionError, check_parity, convert
from interpreter import load_model


def small_classifier(shape=(48, 32, 3), classes=4):
    """Return an untrained classifier that answers each photo differently."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.SeparableConv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(classes, bias_initializer=keras.initializers.RandomNormal(stddev=1)),
        ]
    )


@pytest.fixture(scope="module")
def model():
    return small_classifier()


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def output(tmp_path):
    """Return an existing output file, which a failure must not change."""
    path = tmp_path / "model.tflite"
    path.write_bytes(b"what was there before")
    return path


def run_converter(*arguments):
    """Run `python convert_model.py` and return its exit status, output and errors."""
    command = [sys.executable, ROOT / "convert_model.py", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def fault(monkeypatch, *arguments):
    """Run the command's `main` in this process and return the one line with which it exits."""
    monkeypatch.setattr(sys, "argv", ["convert_model.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        convert_model.main()
    assert re.fullmatch("convert_model.py: .+", caught.value.code)
    return caught.value.code


def test_a_fault_of_the_command_ends_it_without_a_trace(tmp_path):
    status, printed, errors = run_converter(tmp_path / "no.keras", tmp_path / "output")
    assert (status, printed) == (1, "")
    assert errors.splitlines()[-1].startswith("convert_model.py: ")
    assert "Traceback" not in errors


def test_int8_has_no_relu_of_a_sum_and_answers_the_same(output):
    inputs = keras.Input((8, 8, 3))
    left, right = (layers.Conv2D(4, 3, padding="same")(inputs) for _ in range(2))
    total = layers.Add()([left, right])
    both = layers.Concatenate()([total, layers.ReLU()(total), layers.ReLU()(left)])
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(both)))
    convert(model, output, "int8", ROOT / "tests/photos")
    (graph,) = (flatbuffer := flatbuffer_utils.read_model(output)).subgraphs
    kinds = [flatbuffer.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    assert kinds.count(BuiltinOperator.ADD) == 2
    assert kinds.count(BuiltinOperator.RELU) == 1


def test_int8_does_not_cut_a_logit_that_calibration_never_saw(model, output):
    photos = convert_model.load_photos(ROOT / "tests/photos", len(PHOTOS), (48, 32))
    highest = model.predict(photos, verbose=0).max(axis=1)
    order = np.argsort(highest)
    output.write_bytes(convert_model.to_tflite(model, "int8", photos[order[:-5]]))
    answers = convert_model.tflite_logits(output, photos[order[-5:]])
    assert answers.max() > (highest[order[-6]] + highest.max()) / 2


@pytest.mark.parametrize("quantize", convert_model.QUANTIZATIONS)
def test_the_file_answers_as_keras_does(quantize, model, output):
    difference, agreement = convert(model, output, quantize, ROOT / "tests/photos")
    photos = convert_model.load_photos(ROOT / "tests/photos", 5, (48, 32))
    assert photos.shape == (5, 48, 32, 3)
    expected, actual = model.predict(photos, verbose=0), load_model(str(output))(photos[:1])
    limit = convert_model.TOLERANCE[quantize] * np.ptp(expected)
    assert np.abs(expected[:1] - actual).max() <= limit
    assert difference <= limit * 2
    assert agreement >= 0.8


def test_int8_is_smaller_than_dynamic_range_and_float16_and_float32(model, tmp_path):
    sizes = {}
    for quantize in convert_model.QUANTIZATIONS:
        convert(model, tmp_path / quantize, quantize, ROOT / "tests/photos")
        sizes[quantize] = (tmp_path / quantize).stat().st_size
    assert sizes["int8"] < sizes["float16"] < sizes["none"]
    assert sizes["dynamic"] < sizes["float16"]


def test_the_command_prints_both_sizes_and_the_comparison(model_file, output):
    status, printed, _ = run_converter(model_file, output, "--representative", ROOT / "tests/photos")
    assert status == 0
    assert f"{model_file}: " in printed
    assert f"{output}: " in printed
    assert "largest difference of logits" in printed
    assert output.read_bytes()[4:8] == b"TFL3"


def test_a_file_that_disagrees_is_not_written(model, output, monkeypatch):
    monkeypatch.setattr(convert_model, "tflite_logits", lambda path, photos: np.zeros((len(photos), 4)))
    with pytest.raises(ConversionError, match="disagrees"):
        convert(model, output, "int8", ROOT / "tests/photos")
    assert output.read_bytes() == b"what was there before"
    assert os.listdir(output.parent) == [output.name]


def test_an_interrupted_conversion_leaves_the_old_file(model, output, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert_model, "tflite_logits", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(model, output, "int8", ROOT / "tests/photos")
    assert output.read_bytes() == b"what was there before"
    assert os.listdir(output.parent) == [output.name]


@pytest.mark.parametrize("wrong", [np.zeros((3, 2)), np.full((3, 2), np.nan), 9 - np.eye(3, 2)])
def test_nonsense_is_no_parity(wrong):
    with pytest.raises(ConversionError):
        check_parity(np.eye(3, 2) * 9 + 1, wrong, 0.25)


def test_other_top_classes_are_no_parity_however_close_the_logits():
    expected = np.array([[0, 1, -20]] * 4)
    with pytest.raises(ConversionError, match=r"same top class 0\.0%"):
        check_parity(expected, np.array([[1, 0, -20]] * 4), 0.25)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((None, None, 3), "input must be 1×H×W×3"),
        ((48, 32, 1), "input must be 1×H×W×3"),
        ((48, 3), "input must be 1×H×W×3"),
    ],
)
def test_an_input_of_another_shape_is_refused(shape, words, output):
    model = keras.Sequential(
        [keras.Input(shape), layers.GlobalAveragePooling2D() if len(shape) == 3 else layers.Flatten()]
    )
    with pytest.raises(ConversionError, match=words):
        convert(model, output, "int8", ROOT / "tests/photos")


def test_an_output_that_is_no_vector_is_refused(output):
    with pytest.raises(ConversionError, match="output must be"):
        convert(keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)]), output, "int8", ROOT / "tests/photos")


@pytest.mark.parametrize("keywords", [{"batch_size": 2}, {"dtype": "uint8"}], ids=["batch of two", "uint8"])
def test_a_batch_or_a_type_other_than_the_functions_is_refused(keywords, output):
    model = keras.Sequential([keras.Input((8, 8, 3), **keywords), layers.Flatten()])
    with pytest.raises(ConversionError, match="input must be"):
        convert(model, output, "int8", ROOT / "tests/photos")


def test_a_model_without_an_input_shape_is_refused(output):
    with pytest.raises(ConversionError, match="not built"):
        convert(keras.Sequential([layers.Flatten()]), output, "int8", ROOT / "tests/photos")


def test_outputs_by_name_are_refused(output):
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ConversionError, match="output must be"):
        convert(keras.Model(inputs, {"class": layers.Flatten()(inputs)}), output, "int8", ROOT / "tests/photos")


def test_the_model_itself_is_not_overwritten(model_file, monkeypatch):
    before = model_file.read_bytes()
    assert "write to another file" in fault(monkeypatch, model_file, model_file)
    assert model_file.read_bytes() == before


def test_faults_of_the_command_are_one_line_each(model_file, output, tmp_path, monkeypatch, capsys):
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    shutil.copy(PHOTOS[0], broken / "good.jpg")
    (broken / "bad.jpg").write_bytes(PHOTOS[0].read_bytes()[:500])
    for arguments, words in (
        ((tmp_path / "no.keras", output), "no.keras: no such file"),
        ((PHOTOS[0], output), "not a Keras model"),
        ((model_file, output, "--representative", empty), "no photos"),
        ((model_file, output, "--representative", tmp_path / "none"), "no such folder"),
        ((model_file, output, "--representative", broken), "bad.jpg"),
        ((model_file, tmp_path / "none" / "out.tflite", "--representative", broken.parent), "no such folder"),
        ((model_file, empty, "--representative", broken), "is a folder"),
    ):
        assert words in fault(monkeypatch, *arguments)
    assert capsys.readouterr().out == ""
    assert output.read_bytes() == b"what was there before"
