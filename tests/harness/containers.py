"""Docker: AWS's base image or its stand-in, images built on it, and containers of them."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from tests.harness.emulator import PATH
from tests.harness.servers import free_port

BASE_IMAGE = Path(__file__).with_name("base_image.sh")
START_SECONDS = 10
ANSWER_SECONDS = 900  # as long as a function may run


def docker(*arguments):
    """Run a docker command and return its output. Its errors go to this process's stderr."""
    command = ["docker", *map(str, arguments)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def find_base(version, *tags):
    """Return the name of the image to build on: AWS's, or a stand-in if AWS's cannot be pulled.

    `tags` are further names for it, for tools that pull an image such as public.ecr.aws/lambda/python:3.13-x86_64.
    """
    return subprocess.check_output([BASE_IMAGE, version, *tags], text=True).split()[-1]


def build(folder, name, **arguments):
    """Build the image of a folder under a name, with build arguments; return the name."""
    options = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    docker("build", "--quiet", *options, "--tag", name, folder)
    return name


def megabytes_without_base(image, base):
    """Return how many megabytes an image adds to its base."""
    size, base_size = map(int, docker("image", "inspect", "--format", "{{.Size}}", image, base).split())
    return round((size - base_size) / 1e6, 1)


def bridge_address():
    """Return this machine's address on Docker's bridge, at which containers reach it."""
    template = "{{with index .IPAM.Config 0}}{{or .Gateway .Subnet}}{{end}}"
    network = docker("network", "inspect", "bridge", "--format", template)
    return str(ip_network(network)[1]) if "/" in network else network  # old Docker Engines name the subnet only


class Container:
    """A running container; `url` takes the events of its function."""

    def __init__(self, name, port):
        self.name = name
        self.url = f"http://localhost:{port}{PATH}"

    def ask(self, event):
        """Return the function's answer to an event, or to an event that is JSON in bytes already."""
        data = event if isinstance(event, bytes) else json.dumps(event).encode()
        request = urllib.request.Request(self.url, data)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    def logs(self):
        return subprocess.check_output(["docker", "logs", self.name], stderr=subprocess.STDOUT, text=True)


@contextmanager
def running(image, *options, port=None, command=()):
    """Run a function's image until the block ends; yield its Container once the emulator in it answers."""
    port = port or free_port()
    name = docker("run", "--detach", "--publish", f"{port}:8080", *options, image, *command)
    try:
        wait_until_answered(f"http://localhost:{port}")
        yield Container(name, port)
    finally:
        docker("rm", "--force", "--volumes", name)


def wait_until_answered(url):
    """Return as soon as a server answers anything; raise the last OSError after START_SECONDS.

    An open port is not enough, because Docker opens it earlier. The question starts no function: the emulator answers
    it with 404.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return urllib.request.urlopen(url, timeout=START_SECONDS).close()
        except urllib.error.HTTPError:
            return None
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def remove_containers(label):
    """Remove the containers with that label."""
    found = docker("ps", "--all", "--quiet", "--filter", f"label={label}").split()
    if found:
        docker("rm", "--force", *found)
