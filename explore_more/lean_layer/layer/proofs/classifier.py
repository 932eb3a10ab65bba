"""Prove that the clothing classifier answers: it gives ten scores for a photo of pants."""

import base64
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
PHOTO = "tests/photos/pants/pants-1.jpg"

sys.path.insert(0, str(REPOSITORY))
from lambda_function import lambda_handler  # noqa: E402

scores = lambda_handler({"image": base64.b64encode((REPOSITORY / PHOTO).read_bytes()).decode()}, None)
print(json.dumps(scores))
assert max(scores, key=scores.get) == "pants"
