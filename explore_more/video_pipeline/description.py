"""Write the inventory of a video, and a sentence for each garment: by a language model, or by a template.

OPENAI_BASE_URL   any endpoint that speaks OpenAI's chat completions, such as http://localhost:8000/v1
OPENAI_API_KEY    its key, if it asks for one
LANGUAGE_MODEL    the name of the model there, or else of the one on Amazon Bedrock; without both, the template writes

The model is told of each garment's class and time, which the pipeline itself found, and of nothing that a user wrote.
What it answers counts only where it passes the schema; the template writes what is missing, and the result says so.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter

from aws import client

TOGETHER = 3  # garments in a request: small models lose track of more
SECONDS = float(os.environ.get("DESCRIBE_SECONDS", "60"))  # for all requests
REQUEST_SECONDS = 20
MAX_ANSWER_BYTES = 100_000
MAX_CHARACTERS = 200  # of a sentence
PLURALS = {"dress": "dresses", "outwear": "pieces of outwear", "pants": "pairs of pants", "shoes": "pairs of shoes"}
PLURALS["shorts"] = "pairs of shorts"
SINGULARS = {
    "outwear": "piece of outwear",
    "pants": "pair of pants",
    "shoes": "pair of shoes",
    "shorts": "pair of shorts",
}

INSTRUCTIONS = """You write listings for second-hand clothes. Answer with a JSON array, as in the example: for each \
garment its id, its class and one sentence that names the class. Invent no colour, size, material or brand."""
# Of classes that the classifier does not have: small models repeat the example where they find its classes.
EXAMPLE = [
    {"id": 1, "class": "scarf", "sentence": "A scarf that goes with many outfits."},
    {"id": 2, "class": "coat", "sentence": "A coat that is ready for its next owner."},
]


def describe(garments):
    """Return counts by class, a summary, a sentence for each garment's id, and who wrote the sentences.

    `garments` have an "id", a "class" and "first", a time in seconds.
    """
    written, problem = ask_for_sentences(garments)
    sentences = {}
    for garment in garments:
        by_model = garment["id"] in written
        sentence = written[garment["id"]] if by_model else fill_in(garment)
        sentences[str(garment["id"])] = {"sentence": sentence, "written_by": "model" if by_model else "template"}
    counts = dict(sorted(Counter(garment["class"] for garment in garments).items()))
    written_by = {"model": name_model() if written else None, "by_model": len(written), "problem": problem}
    return {"counts": counts, "summary": summarise(counts), "sentences": sentences, "written_by": written_by}


def ask_for_sentences(garments):
    """Return the model's sentences by id, and what kept it from writing all of them."""
    ask = find_model()
    if ask is None:
        return {}, "No language model is set."
    written, problem, deadline = {}, None, time.monotonic() + SECONDS
    batches = [garments[start : start + TOGETHER] for start in range(0, len(garments), TOGETHER)]
    for batch in [*batches, *([garment] for garment in garments)]:  # singly, for what is still missing
        missing = [garment for garment in batch if garment["id"] not in written]
        if not missing:
            continue
        if time.monotonic() > deadline:
            return written, "The language model took too long."
        try:
            answer = ask(make_messages(missing), REQUEST_SECONDS)
        except Exception as error:  # whatever keeps the model from answering, the inventory is written
            print(json.dumps({"warning": f"the language model failed: {type(error).__name__}: {error}"[:500]}))
            return written, f"The language model did not answer ({type(error).__name__})."
        written.update(check(answer, missing))
    if len(written) < len(garments):
        problem = "The language model's answer did not pass the schema."
    return written, problem


def make_messages(garments):
    """Return the messages of a chat: an example, then these garments, numbered from 1."""
    answer = EXAMPLE[: len(garments)]
    example = [{name: each[name] for name in ("id", "class")} for each in answer]
    asked = [{"id": number, "class": garment["class"]} for number, garment in enumerate(garments, 1)]
    return [("user", json.dumps(example)), ("assistant", json.dumps(answer)), ("user", json.dumps(asked))]


def check(text, garments):
    """Return the sentences by id in an answer; those alone that are about the garment asked for."""
    try:
        answer = json.loads(text[text.index("[") : text.rindex("]") + 1])
    except (ValueError, RecursionError):
        return {}
    numbered = dict(enumerate(garments, 1))
    return {
        numbered[each["id"]]["id"]: each["sentence"]
        for each in answer
        if passes_schema(each) and each["id"] in numbered and is_about(numbered[each["id"]]["class"], each)
    }


def passes_schema(item):
    """Return whether an item is {"id": whole number, "class": string, "sentence": string of one line}."""
    if not isinstance(item, dict) or item.keys() != {"id", "class", "sentence"} or type(item["id"]) is not int:
        return False
    sentence = item["sentence"]
    return isinstance(sentence, str) and 10 <= len(sentence) <= MAX_CHARACTERS and sentence.isprintable()


def is_about(name, item):
    """Return whether an item names the garment, in the singular or plural."""
    stem = name.rstrip("s")
    return item["class"] == name and stem in item["sentence"].lower().replace("long sleeve", "longsleeve")


def fill_in(garment):
    """Return the template's sentence."""
    noun = SINGULARS.get(garment["class"], garment["class"])
    article = "An" if noun[0] in "aeiou" else "A"
    return f"{article} {noun}, seen from second {garment['first']:.1f} of the video."


def summarise(counts):
    """Return how many of each class there are, in a sentence."""
    if not counts:
        return "No garment was seen."
    parts = [
        f"{n} {SINGULARS.get(name, name) if n == 1 else PLURALS.get(name, name + 's')}" for name, n in counts.items()
    ]
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    total = sum(counts.values())
    return f"{total} garment{'s' if total > 1 else ''}: {listed}."


def name_model():
    return os.environ.get("LANGUAGE_MODEL") or "default"


def find_model():
    """Return a function that asks the language model, with messages and seconds; None where none is set."""
    if os.environ.get("OPENAI_BASE_URL"):
        return ask_openai
    return ask_bedrock if os.environ.get("LANGUAGE_MODEL") else None


def ask_bedrock(messages, seconds):
    """Return the text that a model on Amazon Bedrock answers."""
    answer = client("bedrock-runtime", seconds).converse(
        modelId=name_model(),
        system=[{"text": INSTRUCTIONS}],
        messages=[{"role": role, "content": [{"text": text}]} for role, text in messages],
        inferenceConfig={"maxTokens": 100 * TOGETHER, "temperature": 0},
    )
    return "".join(part.get("text", "") for part in answer["output"]["message"]["content"])


def ask_openai(messages, seconds):
    """Return the text that an OpenAI-compatible endpoint answers."""
    chat = [{"role": role, "content": text} for role, text in [("system", INSTRUCTIONS), *messages]]
    request = {"model": name_model(), "messages": chat}
    try:
        return post_openai({**request, "max_tokens": 100 * TOGETHER, "temperature": 0}, seconds)
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        return post_openai(request, seconds)  # reasoning models refuse both options


def post_openai(content, seconds):
    headers = {"Content-Type": "application/json"}
    if os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {os.environ['OPENAI_API_KEY']}"
    url = os.environ["OPENAI_BASE_URL"].rstrip("/") + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.loads(answer.read(MAX_ANSWER_BYTES))["choices"][0]["message"]["content"]
