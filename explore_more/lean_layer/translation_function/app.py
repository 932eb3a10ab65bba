"""AWS Lambda: German sentences in; English ones, their scores and attention out.

{"sentences": ["Ich habe Hunger."]} is all that a request needs. OPTIONS has the rest, with their limits.
"""

import json
import os
import sys
import traceback
import unicodedata
from pathlib import Path
from uuid import uuid4

import ctranslate2
import sentencepiece

FOLDER = Path(os.environ.get("MODEL_FOLDER") or Path(__file__).with_name("model"))
BUCKET = os.environ.get("ANSWERS_BUCKET")
S3_ENDPOINT = os.environ.get("S3_ENDPOINT") or None  # another S3 than AWS's
PREFIX = "answers/"
MAX_INLINE_BYTES = int(os.environ.get("MAX_INLINE_BYTES") or 1_000_000)  # Lambda itself takes 6 MB
MAX_SENTENCES = int(os.environ.get("MAX_SENTENCES") or 1000)
MAX_CHARACTERS = int(os.environ.get("MAX_CHARACTERS") or 500)  # in a sentence
MAX_PIECES = 500  # the model has 512 positions
MAX_BEAMS = 10

translator = ctranslate2.Translator(str(FOLDER), intra_threads=int(os.environ.get("THREADS") or 1))
source_pieces, target_pieces = (
    sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / name)) for name in ("source.spm", "target.spm")
)


class RequestError(Exception):
    """Why a request is not answered, in a sentence for the caller; `status` is what HTTP calls it."""


# Lambda reports the name of an error's class as `errorType`.
STATUS = {
    "unsupported_event": 400,
    "missing_sentences": 400,
    "invalid_sentence": 400,
    "empty_sentence": 400,
    "control_character": 400,
    "unknown_option": 400,
    "invalid_option": 400,
    "too_many_sentences": 413,
    "sentence_too_long": 413,
    "unknown_script": 422,
    "answer_too_large": 413,
    "internal": 500,
}
ERRORS = {code: type(code, (RequestError,), {"status": status}) for code, status in STATUS.items()}

# Every option: its default, and a test with a sentence for what fails it.
OPTIONS = {
    "beam_size": (4, lambda value: is_number(value, 1, MAX_BEAMS), f"a whole number from 1 to {MAX_BEAMS}"),
    "hypotheses": (1, lambda value: is_number(value, 1, MAX_BEAMS), f"a whole number from 1 to {MAX_BEAMS}"),
    "attention": (True, lambda value: isinstance(value, bool), "true or false"),
    "answer": ("auto", lambda value: value in ("auto", "inline", "s3"), '"auto", "inline" or "s3"'),
}


def is_number(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def read_request(event):
    """Return the sentences and {option: value} of an event; raise RequestError."""
    if not isinstance(event, dict) or "Records" in event or "requestContext" in event:
        raise ERRORS["unsupported_event"]('Send {"sentences": ["…", …]}.')
    if "sentences" not in event:
        raise ERRORS["missing_sentences"]('The request has no "sentences".')
    unknown = sorted(set(event) - set(OPTIONS) - {"sentences"})
    if unknown:
        raise ERRORS["unknown_option"](f"{unknown[0]!r:.40} is not an option; use {', '.join(OPTIONS)}.")
    options = {name: event.get(name, default) for name, (default, _, _) in OPTIONS.items()}
    for name, (_, is_valid, allowed) in OPTIONS.items():
        if not is_valid(options[name]):
            raise ERRORS["invalid_option"](f'"{name}" must be {allowed}.')
    options["beam_size"] = max(options["beam_size"], options["hypotheses"])
    sentences = event["sentences"]
    if not isinstance(sentences, list) or not sentences:
        raise ERRORS["missing_sentences"]('"sentences" must be a list of at least one sentence.')
    if len(sentences) > MAX_SENTENCES:
        raise ERRORS["too_many_sentences"](f"{len(sentences):,} sentences; at most {MAX_SENTENCES:,} are allowed.")
    for number, sentence in enumerate(sentences, 1):
        check_sentence(sentence, f"Sentence {number}")
    return sentences, options


def check_sentence(sentence, name):
    """Raise RequestError unless the model can translate a sentence."""
    if not isinstance(sentence, str):
        raise ERRORS["invalid_sentence"](f"{name} is not a string.")
    if len(sentence) > MAX_CHARACTERS:
        raise ERRORS["sentence_too_long"](f"{name} has {len(sentence):,} characters; {MAX_CHARACTERS:,} are allowed.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in sentence):
        raise ERRORS["control_character"](f"{name} has a control character, such as a line break; remove it.")
    letters = [character for character in sentence if character.isalpha()]
    if not letters and not any(character.isalnum() for character in sentence):
        raise ERRORS["empty_sentence"](f"{name} has no words.")
    if 2 * sum("LATIN" in unicodedata.name(letter, "") for letter in letters) < len(letters):
        raise ERRORS["unknown_script"](f"{name} is not in Latin letters, as German is.")


def tokenize(sentences):
    """Return the pieces of each sentence, with the mark of its end; raise RequestError."""
    tokens = [[*pieces, "</s>"] for pieces in source_pieces.encode(sentences, out_type=str)]
    for number, pieces in enumerate(tokens, 1):
        if len(pieces) > MAX_PIECES:
            message = f"Sentence {number} has {len(pieces):,} pieces of words; {MAX_PIECES:,} are allowed."
            raise ERRORS["sentence_too_long"](message)
    return tokens


def translate(sentences, beam_size=4, hypotheses=1, attention=True):
    """Return [{"source": tokens, "hypotheses": [{"text", "score", "tokens", "attention"}, …]}, …], best first.

    A score is the mean log-probability of a token. `attention[i][j]` says how much token i of a hypothesis came
    from token j of the source; a row adds up to 1.
    """
    tokens = tokenize(sentences)
    results = translator.translate_batch(
        tokens,
        max_batch_size=1024,
        batch_type="tokens",
        beam_size=beam_size,
        num_hypotheses=hypotheses,
        return_scores=True,
        return_attention=attention,
        disable_unk=True,
        max_decoding_length=MAX_PIECES,
    )
    return [
        {"source": source, "hypotheses": [hypothesis(result, rank) for rank in range(len(result.hypotheses))]}
        for source, result in zip(tokens, results)
    ]


def hypothesis(result, rank):
    """Return one translation of a sentence as plain JSON."""
    tokens = result.hypotheses[rank]
    answer = {"text": target_pieces.decode(tokens), "score": round(result.scores[rank], 4), "tokens": tokens}
    if result.attention:
        # In a batch, CTranslate2 leaves some attention of the first token on the padding of shorter sentences.
        answer["attention"] = [[round(share / sum(row), 4) for share in row] for row in result.attention[rank]]
    return answer


def lambda_handler(event, context):
    """Answer a request with translations, or, where they are large, with where they are in S3."""
    try:
        sentences, options = read_request(event)
        where = options.pop("answer")
        return deliver({"translations": translate(sentences, **options)}, where)
    except RequestError:
        raise
    except Exception:
        traceback.print_exc(file=sys.stdout)
        raise ERRORS["internal"]("The function failed; its log says why.") from None


def deliver(answer, where):
    """Return the answer, or put it into the bucket and return {"bucket", "key", "bytes"}; raise RequestError."""
    body = json.dumps(answer).encode()
    if where == "inline" or (where == "auto" and len(body) <= MAX_INLINE_BYTES):
        if len(body) > 6_000_000:
            raise ERRORS["answer_too_large"](
                f"The answer has {len(body):,} bytes; ask for it in S3, or without attention."
            )
        return answer
    if not BUCKET:
        message = f"The answer has {len(body):,} bytes, and no bucket is set; send fewer sentences, or no attention."
        raise ERRORS["answer_too_large"](message)
    import boto3  # noqa: PLC0415 - few answers need it, and its import takes as long as all else

    key = f"{PREFIX}{uuid4()}.json"
    # S3 makes an object visible once all of it has arrived.
    boto3.client("s3", endpoint_url=S3_ENDPOINT).put_object(
        Bucket=BUCKET, Key=key, Body=body, ContentType="application/json"
    )
    return {"bucket": BUCKET, "key": key, "bytes": len(body)}
