"""Say what a garment is from several views of it, with the classifier's own model."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from keras_image_helper import create_preprocessor
from PIL import Image

import interpreter

CLASSES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
TEMPERATURE = 0.63  # makes probabilities of the logits that are right as often as they say
NOT_SURE = 0.71  # a lower confidence means that the model is not sure

MODEL = Path(interpreter.__file__).with_name("clothing_model.tflite")  # the classifier's own

preprocessor = create_preprocessor("xception", target_size=(299, 299))


def open_model(path):
    """Return a model from a .tflite file; raise ValueError when it cannot be loaded here."""
    return interpreter.load_model(str(path))


@lru_cache(maxsize=1)
def own_model():
    return open_model(MODEL)


def recognise(crops, model=None):
    """Return {"class", "confidence", "sure", "scores"} for RGB uint8 views (h, w, 3) of one garment.

    The scores are probabilities of all classes: the views' mean. `sure` says whether the confidence is high enough.
    """
    if not crops:
        raise ValueError("at least one view of the garment is needed")
    model = model or own_model()
    logits = np.concatenate([model(preprocessor.convert_to_tensor(Image.fromarray(crop))) for crop in crops])
    scores = softmax(logits / TEMPERATURE).mean(0)
    best = int(scores.argmax())
    return {
        "class": CLASSES[best],
        "confidence": round(float(scores[best]), 4),
        "sure": bool(scores[best] >= NOT_SURE),
        "scores": dict(zip(CLASSES, scores.round(4).tolist())),
    }


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
