"""Make the models that the other stacks run.

python benchmarks/make_models.py FOLDER      writes float32.keras, .tflite and .onnx, int8.onnx, lesson.tflite and .onnx

float32 and int8 come from KERAS_MODEL, which the notebook writes. If that file is missing, they come from an untrained
model of the same shape, which is as fast, but whose accuracy means nothing. The lesson's model is an untrained Xception
on 299×299 pixels.
"""

import os
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras_image_helper import create_preprocessor
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from PIL import Image

ROOT = Path(__file__).parent.parent
KERAS_MODEL = Path(os.environ.get("KERAS_MODEL", ROOT / "build/clothing_model.keras"))
DATASET = Path(os.environ.get("CLOTHING_DATASET", ROOT / "clothing-dataset-small"))
CALIBRATION_PHOTOS = 20  # as in convert_model.py


def untrained_classifier(size):
    """Return a Keras model that takes 299×299 pixels and shrinks them to size×size for Xception."""
    base = keras.applications.Xception(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    shrink = [keras.layers.Resizing(size, size)] if size != 299 else []
    return keras.Sequential([keras.Input((299, 299, 3)), *shrink, base, keras.layers.Dense(10)])


def calibration_photos(input_name):
    """Yield photos of the training split, or else of tests/photos, as ONNX Runtime's calibration expects them."""
    folder = DATASET / "train" if DATASET.is_dir() else ROOT / "tests/photos"
    paths = sorted(folder.rglob("*.jpg"))
    preprocessor = create_preprocessor("xception", target_size=(299, 299))
    for index in np.random.default_rng(0).choice(len(paths), CALIBRATION_PHOTOS, replace=False):
        yield {input_name: preprocessor.convert_to_tensor(Image.open(paths[index]))}


class Calibration(CalibrationDataReader):
    def __init__(self, input_name):
        self.photos = calibration_photos(input_name)

    def get_next(self):
        return next(self.photos, None)


def quantize(source, target):
    """Write an ONNX file in int8, with weights scaled per channel and unsigned activations.

    `reduce_range` makes weights 7 bits wide. With 8 bits, sums saturate on processors without VNNI.
    """
    options = {"per_channel": True, "reduce_range": True}
    options.update(activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    quantize_static(source, target, Calibration("photo"), **options)


def export(model, path):
    """Write a Keras model to path.tflite and path.onnx, both in float32."""
    path.with_suffix(".tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    photo = keras.InputSpec(shape=(1, 299, 299, 3), dtype="float32", name="photo")
    model.export(path.with_suffix(".onnx"), format="onnx", input_signature=[photo], verbose=False)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if KERAS_MODEL.exists():
        shutil.copy(KERAS_MODEL, folder / "float32.keras")
    else:
        print(f"{KERAS_MODEL} is missing. Measuring an untrained model, whose accuracy means nothing", file=sys.stderr)
        untrained_classifier(216).save(folder / "float32.keras")
    export(keras.models.load_model(folder / "float32.keras", compile=False), folder / "float32")
    export(untrained_classifier(299), folder / "lesson")
    quantize(folder / "float32.onnx", folder / "int8.onnx")


if __name__ == "__main__":
    main()
