"""Train the homework's model, a small CNN that tells hats from shoes, and save it as a Keras file.

.venv-dev/bin/python -m homework.train_model --seed 1

Run it in the repository's root. It takes two to three minutes on two processor cores.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

from image_source import decode

ROOT = Path(__file__).resolve().parent.parent
DATASET = Path(os.environ.get("CLOTHING_DATASET", ROOT / "clothing-dataset-small"))
MODEL = ROOT / "homework/hats-or-shoes.keras"
CLASSES = ["hat", "shoes"]
IMAGE_SIZE = (150, 150)
FILTERS = (16, 32, 64, 64)
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
DROPOUT = 0.3
LABEL_SMOOTHING = 0.1
BASELINE = 0.65  # 26 of the 40 photos in validation/ show shoes


def load_photo(path):
    """Return a photo as float32 (150, 150, 3) in [0, 1], resized with nearest neighbour as in the function."""
    photo = decode(path.read_bytes()).resize(IMAGE_SIZE, Image.Resampling.NEAREST)
    return np.asarray(photo, np.float32) / 255


def load_split(folder):
    """Return the photos of a split, float32 (n, 150, 150, 3), and their labels, 0 for hat and 1 for shoes, (n, 1)."""
    paths = [path for name in CLASSES for path in sorted((folder / name).glob("*.jpg"))]
    labels = [CLASSES.index(path.parent.name) for path in paths]
    if len(set(labels)) < len(CLASSES):
        sys.exit(f"train_model.py: {folder} has no photos in {' or '.join(CLASSES)}; name the dataset with --dataset")
    return np.stack([load_photo(path) for path in paths]), np.array(labels, np.float32)[:, None]


def build_model():
    """Return an untrained CNN that maps photos (n, 150, 150, 3) in [0, 1] to probabilities of shoes (n, 1)."""
    model = keras.Sequential([keras.Input((*IMAGE_SIZE, 3))])
    for filters in FILTERS:
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Dropout(DROPOUT))
    # A 7 by 7 filter covers the whole map, so this layer does what Flatten and Dense would do. Flatten would read the
    # batch size at run time, and tflite-runtime 2.7 cannot run such a model with XNNPACK.
    model.add(layers.Conv2D(64, 7, activation="relu"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(1, activation="sigmoid"))
    return model


def random_views(photos, labels, seed):
    """Return batches of labelled photos, shuffled, and mirrored, rotated, moved and zoomed at random."""
    view = keras.Sequential(
        [
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomRotation(0.05, seed=seed),
            layers.RandomTranslation(0.1, 0.1, seed=seed),
            layers.RandomZoom(0.2, seed=seed),
        ]
    )
    batches = tf.data.Dataset.from_tensor_slices((photos, labels)).shuffle(len(photos), seed).batch(BATCH_SIZE)
    return batches.map(lambda X, y: (view(X, training=True), y)).prefetch(1)


def train(model, dataset, epochs, seed):
    """Train `model` on the photos of train/ and return its accuracy on the photos of validation/."""
    views = random_views(*load_split(dataset / "train"), seed)
    validation = load_split(dataset / "validation")
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * len(views))
    loss = keras.losses.BinaryCrossentropy(label_smoothing=LABEL_SMOOTHING)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(views, validation_data=validation, epochs=epochs, shuffle=False, verbose=2)
    return model.evaluate(*validation, verbose=0)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=MODEL, help="the file to write (default: %(default)s)")
    parser.add_argument("--dataset", type=Path, default=DATASET, help="clothing-dataset-small (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    model = build_model()
    accuracy = train(model, arguments.dataset, arguments.epochs, arguments.seed)
    model.save(arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB, validation accuracy {accuracy:.4f}")
    if accuracy <= BASELINE:
        sys.exit("train_model.py: the model is no better than always answering shoes; try more --epochs")


if __name__ == "__main__":
    main()
