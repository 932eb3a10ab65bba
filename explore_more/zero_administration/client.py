"""Translate the lines of a file, and show the Chinese words with their readings and HSK levels.

python client.py sentences.txt                                  on this machine, with the functions' code
python client.py sentences.txt --api https://….amazonaws.com    with the functions in AWS
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TRIES = 10


class ClientError(Exception):
    """The reason why there is no answer, in one line."""


def ask_local(script, request):
    """Return what a script answers on this machine; raise ClientError."""
    from importlib import import_module  # noqa: PLC0415

    from answers import RequestError  # noqa: PLC0415

    try:
        return import_module(f"inference.{script}").handler(request, None)
    except RequestError as error:
        raise ClientError(str(error)) from None


def ask_remote(api, script, request):
    """Return what a script behind an API answers; wait while its model is being copied; raise ClientError."""
    post = urllib.request.Request(
        f"{api}/{script}", json.dumps(request).encode(), {"Content-Type": "application/json"}
    )  # fmt: skip
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(post, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503 or attempt == TRIES:
                raise ClientError(f"{error.code}: {error.read().decode(errors='replace')}") from None
            time.sleep(int(error.headers.get("Retry-After") or 5))
        except OSError as error:
            raise ClientError(f"{api} cannot be reached: {error}") from None
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--api", help="the address of a deployed API")
    parser.add_argument("--outputs", type=Path, help="the file of `cdk deploy --outputs-file`, which names the API")
    arguments = parser.parse_args()
    try:
        api = arguments.api
        if arguments.outputs:
            ((outputs),) = json.loads(arguments.outputs.read_text()).values()
            api = outputs["Api"]
        for line in filter(None, map(str.strip, arguments.file.read_text(encoding="utf-8").splitlines())):
            show(line, (lambda *request: ask_remote(api, *request)) if api else ask_local)
    except (OSError, ValueError, ClientError) as error:
        sys.exit(f"client.py: {error}")


def show(line, ask):
    """Print a line, its translation, and the words of the Chinese one of the two."""
    source, target = ("en", "zh") if line.isascii() else ("zh", "en")
    translation = ask("translate", {"text": line, "source": source, "target": target})["translation"]
    print(f"{line} → {translation}")
    words = ask("segment", {"text": line if source == "zh" else translation})["words"]
    print("  ", " · ".join(" ".join((word["text"], word["pinyin"], word.get("level") or "–")) for word in words
                           if "pinyin" in word))  # fmt: skip


if __name__ == "__main__":
    main()
