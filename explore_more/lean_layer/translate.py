"""Translate a file of German sentences, one per line.

python translate.py sentences.txt                      on this machine, with the function's code
python translate.py sentences.txt --function NAME      with the function in AWS
python translate.py sentences.txt --hypotheses 3       print three translations of each, with their scores
"""

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

BATCH = 32


class TranslateError(Exception):
    """The reason why there is no translation, in one line."""


def local_function():
    """Return a function that answers events on this machine, as the one in AWS does; raise TranslateError."""
    sys.path.insert(0, str(Path(__file__).with_name("translation_function")))
    from app import RequestError, lambda_handler  # noqa: PLC0415 - loads the model

    def call(event):
        try:
            return lambda_handler(event, None)
        except RequestError as error:
            raise TranslateError(f"{type(error).__name__}: {error}") from None

    return call


def remote_function(name):
    """Return a function that sends events to the one in AWS; raise TranslateError."""
    import boto3  # noqa: PLC0415 - only this needs it

    client, storage = boto3.client("lambda"), boto3.client("s3")

    def call(event):
        response = client.invoke(FunctionName=name, Payload=json.dumps(event))
        answer = json.load(response["Payload"])
        if "FunctionError" in response:
            raise TranslateError(f"{answer.get('errorType')}: {answer.get('errorMessage')}")
        if "key" in answer:
            answer = json.load(storage.get_object(Bucket=answer["bucket"], Key=answer["key"])["Body"])
        return answer

    return call


def translate(sentences, call, **options):
    """Yield each sentence with its hypotheses, best first; show progress."""
    with tqdm(total=len(sentences), unit=" sentences", disable=None) as progress:
        for start in range(0, len(sentences), BATCH):
            batch = sentences[start : start + BATCH]
            answer = call({"sentences": batch, "attention": False, **options})
            for sentence, translation in zip(batch, answer["translations"]):
                yield sentence, translation["hypotheses"]
            progress.update(len(batch))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--function", help="the name of a function in AWS")
    parser.add_argument("--beam-size", type=int, default=4)
    parser.add_argument("--hypotheses", type=int, default=1)
    arguments = parser.parse_args()
    try:
        sentences = [line.strip() for line in arguments.file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not sentences:
            raise TranslateError(f"{arguments.file} has no sentences; write one German sentence per line")
        call = remote_function(arguments.function) if arguments.function else local_function()
        options = {"beam_size": arguments.beam_size, "hypotheses": arguments.hypotheses}
        for sentence, hypotheses in translate(sentences, call, **options):
            for hypothesis in hypotheses:
                score = f"  ({hypothesis['score']:.2f})" if arguments.hypotheses > 1 else ""
                tqdm.write(f"{sentence} → {hypothesis['text']}{score}")
    except (OSError, UnicodeDecodeError, TranslateError) as error:
        sys.exit(f"translate.py: {error}")


if __name__ == "__main__":
    main()
