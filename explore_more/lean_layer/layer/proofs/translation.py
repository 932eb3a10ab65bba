"""Prove that the committed model translates a sentence without numpy and PyYAML."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "translation_function"))
from app import lambda_handler

(answer,) = lambda_handler({"sentences": ["Ich habe Hunger."]}, None)["translations"]
print(answer["hypotheses"][0]["text"])
assert answer["hypotheses"][0]["text"] == "I'm hungry."
assert not {"numpy", "yaml"} & set(sys.modules)
