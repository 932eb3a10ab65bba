"""Convert a Keras image classifier to TFLite, and check that both give the same answers.

python convert_model.py MODEL.keras clothing_model.tflite --quantize int8 --representative FOLDER
"""

import argparse
import contextlib
import copy
import io
import os
import random
import sys
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras_image_helper import create_preprocessor
from tensorflow.lite.python.schema_py_generated import ActivationFunctionType, BuiltinOperator, TensorType
from tensorflow.lite.tools import flatbuffer_utils
from tqdm import tqdm

from errors import RequestError
from image_source import FORMATS, decode
from interpreter import load_model

QUANTIZATIONS = ("int8", "dynamic", "float16", "none")
# Use few photos, because a layer's most extreme value sets its range: one unusual photo makes the int8 steps
# coarser for all photos. With 20, 50, 200 and 500 photos, Xception's int8 file gave Keras's top class for
# 99, 96, 96 and 89 % of the validation photos.
CALIBRATION_PHOTOS = 20
CHECK_PHOTOS = 50
# Each value is two limits: how far logits may differ, as a share of their range, and what share of the photos
# may get another top class.
TOLERANCE = {"int8": 0.25, "dynamic": 0.25, "float16": 0.02, "none": 0.001}
PHOTO_SUFFIXES = {".jpg", *(f".{name.lower()}" for name in FORMATS)}


class ConversionError(Exception):
    """An error in the input or the result; its message says what to change."""


def load_classifier(path):
    """Return the Keras model in `path`; raise ConversionError if it cannot be loaded."""
    if not Path(path).is_file():
        raise ConversionError(f"{path}: no such file")
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConversionError(f"{path}: not a Keras model that Keras {keras.__version__} can load") from error


def check_shape(model):
    """Raise ConversionError unless `model` maps one float batch×H×W×3 input to batch×classes."""
    if not model.built:
        raise ConversionError("the model is not built; give it an input shape")
    inputs, output = model.inputs, model.compute_output_shape(model.input_shape)
    shape = inputs[0].shape
    if len(inputs) != 1 or len(shape) != 4 or shape[0] not in (None, 1) or shape[3] != 3 or None in shape[1:]:
        raise ConversionError(f"the model's input must be 1×H×W×3 with fixed H and W, not {[i.shape for i in inputs]}")
    if inputs[0].dtype != "float32":
        raise ConversionError(f"the model's input must be float32, not {inputs[0].dtype}")
    if not isinstance(output, tuple) or len(output) != 2 or isinstance(output[0], tuple):
        raise ConversionError("the model's output must be one tensor, 1×classes")


def load_photos(folder, count, size):
    """Return up to `count` photos below `folder` as float32 (n, H, W, 3), prepared as in the handler.

    `size` is (height, width). The photos are chosen at random, but every run chooses the same ones.
    """
    if not Path(folder).is_dir():
        raise ConversionError(f"{folder}: no such folder; name a folder of photos")
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise ConversionError(f"{folder}: no photos ({', '.join(sorted(PHOTO_SUFFIXES))}) in this folder")
    random.Random(0).shuffle(paths)
    preprocessor = create_preprocessor("xception", target_size=(size[1], size[0]))
    tensors = []
    for path in paths[:count]:
        try:
            tensors.append(preprocessor.convert_to_tensor(decode(path.read_bytes())))
        except (RequestError, OSError) as error:
            raise ConversionError(f"{path}: {error}") from error
    return np.concatenate(tensors)


def to_tflite(model, quantize="int8", photos=None):
    """Return `model` as a TFLite flatbuffer, calibrated for int8 on `photos`, float32 (n, H, W, 3)."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        progress = tqdm(photos, desc="calibrating", unit="photo", disable=None)
        converter.representative_dataset = lambda: ([photo[None]] for photo in progress)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # Per-channel dense layers become FULLY_CONNECTED version 12. tflite-runtime 2.7 loads that version but
    # answers with zeros.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flatbuffer = converter.convert()
    return answer_in_float(fuse_relu_into_add(flatbuffer)) if quantize == "int8" else flatbuffer


def fuse_relu_into_add(flatbuffer):
    """Return a TFLite flatbuffer in which each ADD followed by a RELU is one ADD with a fused RELU.

    XNNPACK has no int8 RELU, and TFLite's own took 44 % of Xception's time. If another operator needs the
    sum without the RELU, the graph adds twice, which is still faster.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(flatbuffer)
    builtin = {index: code.builtinCode for index, code in enumerate(model.operatorCodes)}
    operators = model.subgraphs[0].operators
    sums = {add.outputs[0]: add for add in operators if builtin[add.opcodeIndex] == BuiltinOperator.ADD}
    for operator in operators:
        add = sums.get(operator.inputs[0])
        if builtin[operator.opcodeIndex] != BuiltinOperator.RELU or add is None:
            continue
        if add.builtinOptions.fusedActivationFunction != ActivationFunctionType.NONE:
            continue
        operator.opcodeIndex, operator.inputs = add.opcodeIndex, add.inputs
        operator.builtinOptionsType, operator.builtinOptions = add.builtinOptionsType, copy.copy(add.builtinOptions)
        operator.builtinOptions.fusedActivationFunction = ActivationFunctionType.RELU
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def answer_in_float(flatbuffer):
    """Return a TFLite flatbuffer whose last layer, if it is dense, answers in float32; its weights stay int8.

    An int8 output cannot exceed the highest logit of the calibration photos, so it would cut off higher logits.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(flatbuffer)
    graph = model.subgraphs[0]
    dense, dequantize = graph.operators[-2:]
    kinds = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in (dense, dequantize)]
    if kinds != [BuiltinOperator.FULLY_CONNECTED, BuiltinOperator.DEQUANTIZE]:
        return flatbuffer
    int8_features, weights, bias = dense.inputs
    features, output = dense.outputs[0], dequantize.outputs[0]  # reuse the tensor of the int8 logits
    tensor = graph.tensors[features]
    tensor.name, tensor.shape = b"features", graph.tensors[int8_features].shape
    tensor.type, tensor.quantization = TensorType.FLOAT32, None
    if bias >= 0:
        tensor = graph.tensors[bias]
        buffer, (scale,) = model.buffers[tensor.buffer], tensor.quantization.scale
        buffer.data = (np.frombuffer(bytes(buffer.data), np.int32) * scale).astype(np.float32).view(np.uint8)
        tensor.type, tensor.quantization = TensorType.FLOAT32, None
    dequantize.inputs, dequantize.outputs = [int8_features], [features]
    dense.inputs, dense.outputs = [features, weights, bias], [output]
    graph.operators[-2:] = [dequantize, dense]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def tflite_logits(path, photos):
    """Return the logits, float32 (n, classes), of the TFLite file `path` for photos, float32 (n, H, W, 3)."""
    predict = load_model(str(path))
    return np.concatenate([predict(photo[None]) for photo in photos])


def check_parity(expected, actual, tolerance):
    """Return the largest difference of logits and the share of photos with the same top class.

    `expected` and `actual` are (n, classes). Raise ConversionError if the largest difference exceeds
    `tolerance` times the range of `expected`, or if more than a share of `tolerance` of the photos get
    another top class.
    """
    difference = float(np.abs(expected - actual).max())
    agreement = float((expected.argmax(1) == actual.argmax(1)).mean())
    limit = tolerance * float(np.ptp(expected))
    summary = f"largest difference of logits {difference:.3f} (limit {limit:.3f}), same top class {agreement:.1%}"
    if not difference <= limit or agreement < 1 - tolerance:
        raise ConversionError(f"the TFLite model disagrees with the Keras model: {summary}; try another --quantize")
    return difference, agreement


def convert(model, output, quantize="int8", representative=None, tolerance=None):
    """Write `model` as the TFLite file `output`; return what `check_parity` returns.

    `representative` is a folder of photos. int8 calibrates on some of them, and `check_parity` compares the
    answers on others, if the folder has enough. Raise ConversionError, and leave `output` as it was, if the
    answers disagree. The default `tolerance` depends on `quantize`.
    """
    check_shape(model)
    if not Path(output).name or Path(output).is_dir():
        raise ConversionError(f"{output}: this is a folder; name a file to write")
    if not Path(output).parent.is_dir():
        raise ConversionError(f"{Path(output).parent}: no such folder; create it or write to another")
    if representative is None:
        raise ConversionError("calibration and the check need photos; name a folder of them as representative")
    photos = load_photos(representative, CALIBRATION_PHOTOS + CHECK_PHOTOS, model.input_shape[1:3])
    check, calibration = photos[:CHECK_PHOTOS], photos[CHECK_PHOTOS:]
    if len(calibration) < CALIBRATION_PHOTOS // 2:
        calibration = photos
    temporary = Path(output).with_name(f".{Path(output).name}.{os.getpid()}")
    try:
        temporary.write_bytes(to_tflite(model, quantize, calibration))
        expected = model.predict(check, verbose=0)
        limit = TOLERANCE[quantize] if tolerance is None else tolerance
        result = check_parity(expected, tflite_logits(temporary, check), limit)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the trained model, a .keras file")
    parser.add_argument("output", nargs="?", default="clothing_model.tflite", help="the file to write")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, default="int8")
    parser.add_argument(
        "--representative",
        default=os.environ.get("CLOTHING_DATASET", "clothing-dataset-small") + "/train",
        help="a folder of photos for calibration and for the check (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance", type=float, help="the accepted difference, as a share of the logits' range and of the photos"
    )
    arguments = vars(parser.parse_args())
    path = arguments.pop("model")
    try:
        if Path(path).resolve() == Path(arguments["output"]).resolve():
            raise ConversionError(f"{path}: this is the Keras model; write to another file")
        difference, agreement = convert(load_classifier(path), **arguments)
    except (ConversionError, OSError) as error:
        sys.exit(f"convert_model.py: {error}")
    for file in (path, arguments["output"]):
        print(f"{file}: {Path(file).stat().st_size / 1e6:.1f} MB")
    print(f"largest difference of logits {difference:.3f}, same top class {agreement:.1%}")


if __name__ == "__main__":
    main()
