"""Enhance a recording with a job in a deployed stack: python client.py STACK IN OUT"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit


def ask(method, url, content=None, headers=None):
    """Return what an address answers: JSON decoded, anything else as bytes. Exit with its message if it refuses."""
    request = urllib.request.Request(url, content, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: HTTP {error.code} {error.read().decode(errors='replace')}")
    return json.loads(body) if answer.headers.get_content_type() == "application/json" else body


def find_api(stack):
    """Return the address of a stack's API, as the aws command line knows it."""
    query = "Stacks[0].Outputs[?OutputKey=='Api'].OutputValue"
    command = ["aws", "cloudformation", "describe-stacks", "--stack-name", stack, "--query", query, "--output", "text"]
    api = subprocess.check_output(command, text=True).strip()
    if "AWS_ENDPOINT_URL" in os.environ:  # a stand-in for AWS, which serves its APIs under its own address
        return f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{urlsplit(api).netloc.split('.')[0]}/$default"
    return api


def enhance(api, data, **options):
    """Enhance a recording with a job; return the result when it is done."""
    body = json.dumps({"upload": len(data), **options}).encode()
    job = ask("POST", f"{api}/jobs", body, {"Content-Type": "application/json"})
    ask("PUT", job["upload"], data)
    ask("POST", f"{api}/jobs/{job['id']}", b"")
    while True:
        job = ask("GET", f"{api}/jobs/{job['id']}")
        print(f"{job['state']} {job.get('progress', 0):.0%}", file=sys.stderr)
        if job["state"] == "failed":
            sys.exit(job["error"]["message"])
        if job["state"] == "done":
            return job["result"]
        time.sleep(1)


if __name__ == "__main__":
    stack, source, target = sys.argv[1:]
    api = stack if "://" in stack else find_api(stack)
    result = enhance(api, Path(source).read_bytes())
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(ask("GET", result["url"]))
    print(f"{target}: {result['seconds']} s enhanced, {Path(target).stat().st_size:,} bytes")
