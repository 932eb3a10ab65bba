"""Train the last layer of the classifier on labelled photos, and write it into the .tflite file.

Everything before the last layer stays. It gives 2,048 features of each photo, from which the layer is learned anew,
starting from its present weights and held near them. No TensorFlow is needed: the file keeps its structure, and only
the layer's weights, their scale and its bias change. The model takes its place if it is better on the photos that are
held out, and no worse on the photos that the image brings along.
"""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tflite
from PIL import Image, UnidentifiedImageError

from recognition import CLASSES, MODEL, TEMPERATURE, open_model, preprocessor, softmax

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
HELD_OUT = 0.25
LEAST_PHOTOS = 20
PULLS = (0.3, 0.1, 0.03, 0.01)  # how strongly the weights are held, to choose from by cross-validation
STEPS, RATE, FOLDS = 300, 0.003, 4
KNOWN = Path(__file__).with_name("photos")  # in the image; a new model may fail on one of them more


class Layer:
    """The last layer of a model of ours, in the bytes of its file."""

    def __init__(self, path):
        self.file = bytearray(Path(path).read_bytes())
        try:
            self.model = tflite.Model.GetRootAs(self.file, 0)
            self.graph = self.model.Subgraphs(0)
            dense = self.graph.Operators(self.graph.OperatorsLength() - 1)
            code = self.model.OperatorCodes(dense.OpcodeIndex()).BuiltinCode()
            self.features, weights, bias = map(int, dense.InputsAsNumpy())
            self.weights, self.bias = self.graph.Tensors(weights), self.graph.Tensors(bias)
        except Exception:
            raise ValueError(
                f"{Path(path).name}: is not a model of ours: a .tflite file that ends in a dense layer."
            ) from None
        kinds = code, self.weights.Type(), self.bias.Type()
        if kinds != (tflite.BuiltinOperator.FULLY_CONNECTED, tflite.TensorType.INT8, tflite.TensorType.FLOAT32):
            raise ValueError(f"{Path(path).name}: its last layer must be dense, with int8 weights and a float32 bias.")

    def data(self, tensor, kind):
        """Return a tensor's values, which change the file when they change."""
        return self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).reshape(tensor.ShapeAsNumpy())

    def read(self):
        """Return the weights (classes, features) and the bias (classes,), float32."""
        scale = self.weights.Quantization().ScaleAsNumpy()
        return self.data(self.weights, np.int8) * scale[0], self.data(self.bias, "<f4").copy()

    def write(self, weights, bias):
        """Return the file with other weights and another bias."""
        scale = self.weights.Quantization().ScaleAsNumpy()
        scale[0] = np.abs(weights).max() / 127
        self.data(self.weights, np.int8)[:] = np.rint(weights / scale[0]).clip(-127, 127)
        self.data(self.bias, "<f4")[:] = bias
        return bytes(self.file)

    def without(self):
        """Return the file of a model that answers with the features."""
        output = self.graph.OutputsAsNumpy()
        before, output[0] = int(output[0]), self.features
        result = bytes(self.file)
        output[0] = before
        return result


def find_photos(data):
    """Return [(path, index of its class)] of photos in folders of classes; raise ValueError."""
    folders = [path for path in sorted(data.iterdir()) if path.is_dir()]
    unknown = [path.name for path in folders if path.name not in CLASSES]
    if unknown:
        raise ValueError(f"{unknown[0]}: is no class; the folders must be named {', '.join(CLASSES)}.")
    return [
        (path, CLASSES.index(folder.name))
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def split(photos):
    """Return the photos to learn from and those that are held out, a quarter of each class."""
    learned, held_out = [], []
    for index in range(len(CLASSES)):
        its = [photo for photo in photos if photo[1] == index]
        random.Random(0).shuffle(its)
        count = round(HELD_OUT * len(its))
        held_out += its[:count]
        learned += its[count:]
    return learned, held_out


def answers(model, photos):
    """Return what a model says of photos, (n, …), and their classes (n,); raise ValueError."""
    rows = []
    for path, _ in photos:
        try:
            with Image.open(path) as image:
                rows.append(model(preprocessor.convert_to_tensor(image.convert("RGB")))[0])
        except (UnidentifiedImageError, OSError):
            raise ValueError(f"{path.parent.name}/{path.name}: is not a photo that can be read.") from None
    return np.array(rows), np.array([index for _, index in photos])


def fit(features, classes, weights, bias, pull):
    """Return weights and bias with a low cross-entropy, held near the given ones; by Adam."""
    start = np.column_stack([weights, bias])
    features = np.column_stack([features, np.ones(len(features))]).astype(np.float32)
    layer, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    wanted = np.eye(len(CLASSES), dtype=np.float32)[classes]
    for step in range(1, STEPS + 1):
        wrong = softmax(features @ layer.T / TEMPERATURE) - wanted
        slope = wrong.T @ features / (TEMPERATURE * len(features)) + pull * (layer - start)
        first += 0.1 * (slope - first)
        second += 0.001 * (slope**2 - second)
        layer -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return layer[:, :-1], layer[:, -1]


def loss(logits, classes):
    """Return the mean cross-entropy."""
    return float(-np.log(softmax(logits / TEMPERATURE)[np.arange(len(classes)), classes] + 1e-9).mean())


def choose_pull(features, classes, weights, bias):
    """Return the best of PULLS by cross-validation."""
    fold = np.random.default_rng(0).permutation(len(classes)) % FOLDS
    totals = []
    for pull in PULLS:
        total = 0.0
        for index in range(FOLDS):
            layer = fit(features[fold != index], classes[fold != index], weights, bias, pull)
            total += loss(features[fold == index] @ layer[0].T + layer[1], classes[fold == index])
        totals.append(total)
    return PULLS[int(np.argmin(totals))]


def accuracy(logits, classes):
    return float((logits.argmax(1) == classes).mean())


def train(data, current, model, options):
    """Write clothing_model.tflite to the folder `model`; return the report."""
    photos = find_photos(data)
    learned, held_out = split(photos)
    if len(photos) < LEAST_PHOTOS or not held_out:
        raise ValueError(f"At least {LEAST_PHOTOS} labelled photos are needed, in folders such as dress and hat.")
    path = current / "clothing_model.tflite"
    path = path if path.exists() else MODEL
    layer = Layer(path)
    with TemporaryDirectory() as folder:
        body = Path(folder) / "features.tflite"
        body.write_bytes(layer.without())
        features, classes = answers(open_model(body), learned)
    print(f"{len(learned)} photos to learn from, {len(held_out)} held out", flush=True)
    start = layer.read()
    pull = choose_pull(features, classes, *start)
    new = model / "clothing_model.tflite"
    new.write_bytes(layer.write(*fit(features, classes, *start, pull)))
    before, after = compare(path, new, held_out)
    report = {
        "accepted": (after["accuracy"], -after["loss"]) > (before["accuracy"], -before["loss"]),
        "metric": "accuracy",
        "current": before["accuracy"],
        "new": after["accuracy"],
        "loss": {"current": before["loss"], "new": after["loss"]},
        "held_out": len(held_out),
        "trained_on": len(learned),
    }
    if KNOWN.is_dir():
        known = find_photos(KNOWN)
        old, its = compare(path, new, known)
        report["known"] = {"current": old["accuracy"], "new": its["accuracy"], "photos": len(known)}
        report["accepted"] &= its["accuracy"] >= old["accuracy"] - 1 / len(known) - 1e-9
    return report


def compare(old, new, photos):
    """Return the accuracy and the loss of two models on photos."""
    results = []
    for path in (old, new):
        logits, classes = answers(open_model(path), photos)
        results.append({"accuracy": round(accuracy(logits, classes), 4), "loss": round(loss(logits, classes), 4)})
    return results
