"""The lesson's preprocessing and answer, shared by all the functions that ours is compared with."""

import os

from keras_image_helper import create_preprocessor

CLASSES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
MODEL = os.environ["MODEL"]
THREADS = int(os.environ["THREADS"])

preprocessor = create_preprocessor("xception", target_size=(299, 299))


def make_handler(infer):
    """Return a Lambda handler for {"url": …}. A data: URL can carry the photo itself; urllib opens that too.

    `infer` maps float32 (1, 299, 299, 3) in [-1, 1] to float32 (1, 10) logits.
    """

    def lambda_handler(event, context):
        X = preprocessor.from_url(event["url"])
        return dict(zip(CLASSES, infer(X)[0].tolist()))

    return lambda_handler
