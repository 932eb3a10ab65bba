"""Measure photos a second, and write measured.json: `make benchmark` runs this. It needs two cores and Docker.

python benchmark.py                      all of it, with AVX2 alone where avx2_only.so hides the rest, and with VNNI
python benchmark.py one                  on one core: inference alone, then batches from a simulated S3
python benchmark.py s3 FOLDER HOST       be that S3, on the other core; it answers after 20 to 50 ms
python benchmark.py table                the README's tables of what was measured
python benchmark.py loop MODULE FOLDER   the obvious loop, with a module of ../../benchmarks
"""

import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import prices
from benchmarks import avx2_only
from tests.harness.containers import bridge_address, find_base, running

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
AVX2_ONLY = ROOT / "build/avx2_only.so"
MODELS = ROOT / "build/benchmarks"  # of `make benchmark` in the root, or benchmarks/make_models.py
PHOTOS = HERE / "build/benchmark-photos"
LATENCY = (0.020, 0.050)  # seconds
SIZES = (1, 10, 50, 100, 500)  # photos in a batch
DOWNLOADS = (1, 2, 4, 8, 16)
MEMORIES = (1024, 1769, 3538)  # MB
PHOTOS_OF_A_SIZE = 60
LOOP_PHOTOS = 200
IMAGE = "million-photos-measured"


class S3(BaseHTTPRequestHandler):
    """Gives any of the photos for any key, and 404 for results."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(random.uniform(*LATENCY))
        photos = self.server.photos
        wanted = self.path.startswith("/photos/")
        self.answer(200 if wanted else 404, photos[hash(self.path) % len(photos)] if wanted else NO_SUCH_KEY)

    def do_PUT(self):
        time.sleep(random.uniform(*LATENCY))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")

    def answer(self, status, body):
        self.wfile.write(
            b'HTTP/1.1 %d X\r\nContent-Length: %d\r\nETag: "x"\r\nContent-Type: application/xml\r\n\r\n%b'
            % (status, len(body), body)
        )

    def log_message(self, *arguments):
        pass


NO_SUCH_KEY = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"


def serve(folder, host):
    """Serve the photos of a folder until killed; print the port."""
    server = ThreadingHTTPServer((host, 0), S3)
    server.photos = [path.read_bytes() for path in sorted(Path(folder).rglob("*.jpg"))]
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def simulated_s3(host="127.0.0.1"):
    """Run the server on the last core; yield its address."""
    last = max(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(last), sys.executable, __file__, "s3", str(PHOTOS), host]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://{host}:{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def photos_a_second(function, count):
    started = time.perf_counter()
    function()
    return count / (time.perf_counter() - started)


def measure_one_core():
    """Print photos a second of inference alone, of batches by size, and of the largest by downloads at once."""
    import batch  # noqa: PLC0415
    import storage  # noqa: PLC0415

    X = batch.preprocess(batch.decode(next(PHOTOS.rglob("*.jpg")).read_bytes()))

    def infer(count):
        for _ in range(count):
            batch.model(X)

    def run(size):
        store = storage.Bucket("results", "batches/x/")
        keys = [f"{number}.jpg" for number in range(size)]
        batch.run_batch(store, storage.Bucket("photos"), {"number": 0, "keys": keys})

    infer(5)
    run(2)
    inference = [photos_a_second(lambda: infer(40), 40)]
    sizes = {}
    for size in SIZES:
        repeats = max(1, 40 // size)
        sizes[size] = statistics.median(photos_a_second(lambda size=size: run(size), size) for _ in range(repeats))
    inference.append(photos_a_second(lambda: infer(40), 40))
    downloads = {}
    for batch.DOWNLOADS in DOWNLOADS:
        downloads[batch.DOWNLOADS] = photos_a_second(lambda: run(60), 60)
    inference.append(photos_a_second(lambda: infer(40), 40))
    print(json.dumps({"inference": statistics.median(inference), "sizes": sizes, "downloads": downloads}))


def loop(module, folder):
    """Print photos a second of a loop that opens, preprocesses and classifies one photo after the other."""
    from PIL import Image  # noqa: PLC0415

    infer = importlib.import_module(module).infer
    preprocessor = importlib.import_module("rival").preprocessor
    paths = sorted(Path(folder).rglob("*.jpg"))
    infer(preprocessor.convert_to_tensor(Image.open(paths[0])))

    def run():
        for path in paths:
            infer(preprocessor.convert_to_tensor(Image.open(path)))

    print(json.dumps(photos_a_second(run, len(paths))))


def answer(*command, **environ):
    """Return the JSON that a command prints last."""
    text = subprocess.check_output(list(map(str, command)), env={**os.environ, **environ}, text=True)
    return json.loads(text.splitlines()[-1])


def measure_machine(kind):
    """Return photos a second over a folder on all cores: ours, and the loops over other libraries."""
    cores = len(os.sched_getaffinity(0))
    output = HERE / "build/benchmark-run"
    subprocess.run(["rm", "-rf", output], check=True)

    def ours():
        command = [sys.executable, HERE / "classify.py", PHOTOS, "--output", output, "--name", "x"]
        subprocess.run(command, check=True, env={**os.environ, **kind}, capture_output=True)

    result = {"ours": photos_a_second(ours, LOOP_PHOTOS)}
    for name, venv, module, model in (
        ("TensorFlow", ".venv-keras", "keras_function", "float32.keras"),
        ("ONNX Runtime", ".venv-onnx", "onnx_function", "float32.onnx"),
    ):
        environ = {
            **kind,
            "MODEL": str(MODELS / model),
            "THREADS": str(cores),
            "PYTHONPATH": f"{ROOT}/benchmarks:{ROOT}",
        }
        result[name] = answer(ROOT / venv / "bin/python", __file__, "loop", module, PHOTOS, **environ)
    return result


def measure_memory(kind):
    """Return photos a second of the image in a container with each memory size's share of a core."""
    environ = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1", "BUCKET": "results"}
    mounts = []
    if kind:
        environ["LD_AUDIT"] = "/avx2_only.so"
        mounts = ["--volume", f"{AVX2_ONLY}:/avx2_only.so:ro"]
    result = {}
    with simulated_s3(bridge_address()) as address:
        environ["AWS_ENDPOINT_URL_S3"] = address
        for memory in MEMORIES:
            options = ["--memory", f"{memory}m", "--cpus", f"{memory / 1769:.3f}", *mounts]
            for name, value in {**environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}.items():
                options += ["--env", f"{name}={value}"]
            with running(IMAGE, *options) as container:
                event = {"run": "x", "bucket": "photos", "batch": {"number": 0, "keys": ["1.jpg"] * 5}}
                container.ask(event)
                event["batch"]["keys"] = [f"{number}.jpg" for number in range(PHOTOS_OF_A_SIZE)]
                result[memory] = photos_a_second(lambda: container.ask(event), PHOTOS_OF_A_SIZE)  # noqa: B023
    return result


def print_tables():
    print(tables(json.loads((HERE / "measured.json").read_text())))


def tables(measured):
    """Return the README's tables, in Markdown."""
    kinds = list(measured)
    largest = str(SIZES[-1])
    rows = [["inference alone, photos a second"] + [f"{measured[kind]['inference']:.1f}" for kind in kinds]]
    for size in map(str, SIZES):
        rates = [(measured[kind]["sizes"][size], measured[kind]["inference"]) for kind in kinds]
        name = f"batches of {size} from S3"
        rows.append([name] + [f"{rate:.1f} ({rate / inference:.0%})" for rate, inference in rates])
    for downloads in map(str, DOWNLOADS):
        rates = [measured[kind]["downloads"][downloads] for kind in kinds]
        rows.append([f"batches of 60, downloads at once: {downloads}"] + [f"{rate:.1f}" for rate in rates])
    for memory in map(str, MEMORIES):
        rates = [measured[kind]["memory"][memory] for kind in kinds]
        cells = [f"{rate:.1f}, ${bill(rate, int(memory))['computing']:.2f}" for rate in rates]
        rows.append([f"image with {memory} MB, batches of {PHOTOS_OF_A_SIZE}; computing of a million", *cells])
    bills = [bill(measured[kind]["sizes"][largest], 1769) for kind in kinds]
    costs = [[f"a million: {name}"] + [f"${costs[name]:.3f}" for costs in bills] for name in bills[0]]
    costs.append(["**a million, all in**"] + [f"**${sum(costs.values()):.2f}**" for costs in bills])
    folder = [
        [name] + [f"{measured[kind]['machine'][name]:.1f}" for kind in kinds] for name in measured[kinds[0]]["machine"]
    ]
    heads = ["one core", f"1,769 MB, batches of {largest}", "a folder, photos a second on two cores"]
    return "\n\n".join(markdown([head, *kinds], part) for head, part in zip(heads, (rows, costs, folder)))


def bill(rate, memory):
    """Return what a million photos cost at a rate of photos a second."""
    return prices.dollars(1_000_000, 1_000_000 / SIZES[-1], 1_000_000 / rate * memory / 1024)


def markdown(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    command = ["docker", "build", "--quiet", "--file", HERE / "Dockerfile", "--tag", IMAGE]
    subprocess.run([*command, "--build-arg", f"BASE={find_base('3.13')}", ROOT], check=True)
    subprocess.run([sys.executable, HERE / "make_photos.py", PHOTOS, str(LOOP_PHOTOS)], check=True)
    kinds = {"AVX2": {"LD_AUDIT": str(AVX2_ONLY)}} if AVX2_ONLY.exists() else {}
    for kind in kinds.values():
        avx2_only.check([sys.executable], {**os.environ, **kind})
    kinds["VNNI" if "avx512_vnni" in Path("/proc/cpuinfo").read_text() else "all"] = {}
    first = str(min(os.sched_getaffinity(0)))
    aws = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    aws["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "1769"
    measured = {}
    for name, kind in kinds.items():
        with simulated_s3() as address:
            environ = {**aws, **kind, "AWS_ENDPOINT_URL_S3": address}
            measured[name] = answer("taskset", "-c", first, sys.executable, __file__, "one", **environ)
        measured[name]["machine"] = measure_machine(kind)
        measured[name]["memory"] = measure_memory(kind)
    (HERE / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or ["all"]
    {"all": main, "one": measure_one_core, "s3": serve, "loop": loop, "table": print_tables}[command](*arguments)
