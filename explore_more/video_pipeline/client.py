"""Take an inventory of a video by a deployed stack, or at the address of an API: python client.py STACK VIDEO [USER]"""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin, urlsplit


def ask(method, url, content=None, headers=None):
    """Return the JSON that an address answers, or its bytes; exit with the sentence of a refusal."""
    request = urllib.request.Request(url, content, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: HTTP {error.code} {error.read().decode(errors='replace')}")
    return json.loads(body) if answer.headers.get_content_type() == "application/json" else body


def find_api(stack):
    """Return the address of a stack's API, from the aws command line."""
    query = "Stacks[0].Outputs[?OutputKey=='Api'].OutputValue"
    command = ["aws", "cloudformation", "describe-stacks", "--stack-name", stack, "--query", query, "--output", "text"]
    api = subprocess.check_output(command, text=True).strip()
    if "AWS_ENDPOINT_URL" in os.environ:  # a stand-in for AWS, which serves its APIs under its own address
        return f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{urlsplit(api).netloc.split('.')[0]}/$default"
    return api


def upload(api, data, user):
    """Upload a video; return its id."""
    request = {"userId": user, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    answer = ask("POST", f"{api}/videos", json.dumps(request).encode(), {"Content-Type": "application/json"})
    if "upload" in answer:
        ask("PUT", urljoin(api, answer["upload"]["url"]), data, answer["upload"]["headers"])
    return answer["id"]


def wait(api, identifier):
    """Return what became of a video, once nothing more happens to it; print each stage's state when it changes."""
    told = None
    while True:
        answer = ask("GET", f"{api}/videos/{identifier}")
        states = ", ".join(f"{name} {stage['state']}" for name, stage in answer["stages"].items())
        if states != told:
            print(states, file=sys.stderr)
        told = states
        if answer["state"] != "running":
            return answer
        time.sleep(1)


if __name__ == "__main__":
    api = sys.argv[1] if "://" in sys.argv[1] else find_api(sys.argv[1])
    answer = wait(api, upload(api, Path(sys.argv[2]).read_bytes(), *(sys.argv[3:] or ["me"])))
    for name, stage in answer["stages"].items():
        if stage["state"] == "failed":
            sys.exit(f"{name}: {stage['error']['message']}")
    for garment in answer["garments"]:
        print(f"{garment['first']:6.1f} to {garment['last']:.1f} s  {garment['class']:<10} {garment['sentence']}")
    print(answer["inventory"]["summary"])
