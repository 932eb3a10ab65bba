"""Ask the function for the class of photos.

python test.py                                      the repository's photo of trousers: ten scores and the class
python test.py photo.jpg https://example.com/a.png  files and addresses: a line for each
python test.py photos/ 'more/*.webp'                the photos of a folder and those of a pattern
python test.py --json photos/                       a JSON object for each, on a line of its own
python test.py --plot photo.jpg                     also draw the photo beside its probabilities, in photo-scores.png

The endpoint is PREDICT_URL, else the REST or HTTP API of AWS_REGION and API_NUMBER, else what deploy.sh
saved, else the function that `make run` serves on localhost:8080. PREDICT_API_KEY is the key of an API
that asks for one.
"""

import argparse
import base64
import glob
import io
import json
import math
import os
import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import requests
from PIL import Image, ImageOps
from urllib3.exceptions import HTTPError

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "tests/photos/pants/pants-1.jpg"
METRICS = FOLDER / "metrics.json"
SAVED_ENDPOINT = FOLDER / ".predict-url"
LOCAL_ENDPOINT = "http://localhost:8080/2015-03-31/functions/function/invocations"
TIMEOUT_SECONDS = 60
# What the function takes, as in limits.py, and what is made of a photo that is over it, as the page does.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_INLINE_BYTES = 4_400_000  # as base64 with its JSON, what Lambda takes: 6 MB
MAX_PIXELS = 25_000_000
MAX_SIDE = 65_535  # as in image_source.py
SMALL_SIDE = 1600
JPEG_QUALITY = 92
# What a folder's photos are called.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif", ".avif", ".tif", ".tiff")


class PredictError(Exception):
    """Why there are no scores, in one line."""


def endpoint(environ=os.environ):
    """Return the address to POST to, chosen as the module says."""
    if environ.get("PREDICT_URL"):
        return environ["PREDICT_URL"]
    if environ.get("AWS_REGION") and environ.get("API_NUMBER"):
        return f"https://{environ['API_NUMBER']}.execute-api.{environ['AWS_REGION']}.amazonaws.com/test/predict"
    if SAVED_ENDPOINT.exists():
        return SAVED_ENDPOINT.read_text().strip()
    return LOCAL_ENDPOINT


def is_address(photo):
    """Tell an address from the path of a file."""
    return photo.startswith(("http://", "https://"))


def find_photos(names):
    """Yield files and addresses as they are named, and what a folder or a pattern holds in alphabetical order."""
    for name in names:
        if Path(name).is_dir():
            yield from list_folder(name) or [name]
        elif is_address(name) or Path(name).exists():
            yield name
        else:
            yield from sorted(filter(os.path.isfile, glob.glob(name, recursive=True))) or [name]


def list_folder(folder):
    """Return the photos in a folder and in the folders in it, but for hidden ones."""
    pattern = str(Path(glob.escape(folder)) / "**/*")
    return [path for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).suffix.lower() in SUFFIXES]


def make_request(photo):
    """Return {"url": photo} for an address and {"image": base64} for a file; raise PredictError."""
    if is_address(photo):
        return {"url": photo}
    try:
        data = Path(photo).read_bytes()
    except IsADirectoryError:
        raise PredictError(f"{photo}: the folder holds no photos") from None
    except OSError as error:
        raise PredictError(f"{photo}: {error.strerror}") from error
    if not data:
        raise PredictError(f"{photo}: the file is empty")
    return {"image": base64.b64encode(shrink(photo, data)).decode()}


def shrink(photo, data):
    """Return a photo's bytes, or a JPEG of SMALL_SIDE pixels, upright, where the function takes no such photo."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
        fits = image.width * image.height <= MAX_PIXELS and max(image.size) <= MAX_SIDE
        if image.format in FORMATS and fits and len(data) <= MAX_INLINE_BYTES:
            return data
        image.draft("RGB", (SMALL_SIDE, SMALL_SIDE))
        image = ImageOps.exif_transpose(image)
        image.thumbnail((SMALL_SIDE, SMALL_SIDE))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if len(data) <= MAX_INLINE_BYTES:
            return data  # for the function to say what is wrong
        message = f"over {MAX_INLINE_BYTES:,} bytes, and no photo that can be made smaller here"
        raise PredictError(f"{photo}: {message}") from error
    buffer = io.BytesIO()
    on_white(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def on_white(image):
    """Return an image in RGB, with white behind what is transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def make_headers(environ=os.environ):
    """Return the header with the key in PREDICT_API_KEY, or none."""
    return {"x-api-key": environ["PREDICT_API_KEY"]} if environ.get("PREDICT_API_KEY") else {}


def predict(photo, url):
    """Return {class: logit} for a file or an address; raise PredictError."""
    request = make_request(photo)
    try:
        response = requests.post(url, json=request, headers=make_headers(), timeout=TIMEOUT_SECONDS)
        answer = response.json()
    except requests.exceptions.JSONDecodeError:
        raise PredictError(f"{url} answered HTTP {response.status_code} without JSON") from None
    except (requests.exceptions.RequestException, HTTPError) as error:
        hint = "; is `make run` running?" if "localhost" in url or "127.0.0.1" in url else ""
        raise PredictError(f"no answer from {url} ({type(error).__name__}){hint}") from error
    if not (response.ok and is_scores(answer)):
        raise PredictError(f"{photo}: {describe_error(answer, response.status_code)}")
    return answer


def is_scores(answer):
    """Tell whether an answer maps class names to numbers."""
    return isinstance(answer, dict) and answer and all(isinstance(score, float) for score in answer.values())


def describe_error(answer, status):
    """Return one line for an error of Lambda's, of the function's, of API Gateway's or of a function URL's."""
    answer = answer if isinstance(answer, dict) else {"message": json.dumps(answer)}
    if "errorMessage" in answer:
        return " ".join(f"{answer.get('errorType')}: {answer['errorMessage']}".split())
    error = answer["error"] if isinstance(answer.get("error"), dict) else answer
    message = error.get("message") or error.get("Message") or json.dumps(error)
    return " ".join(f"HTTP {status}, {error.get('code', 'error')}: {message}".split())


def read_calibration(path=METRICS):
    """Return (temperature, the probability below which no class is likely) from metrics.json, or None."""
    try:
        metrics = json.loads(path.read_text())
        return metrics["temperature"], metrics["not sure below"]
    except (OSError, ValueError, KeyError):
        return None


def probabilities(scores, temperature):
    """Return {class: probability} by softmax of logits / temperature, the likeliest first."""
    most = max(scores.values())
    powers = {name: math.exp((score - most) / temperature) for name, score in scores.items()}
    total = sum(powers.values())
    return {name: powers[name] / total for name in sorted(powers, key=powers.get, reverse=True)}


def percent(probability):
    """Return a probability in words, which never make it certain."""
    return "over 99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def judge(scores, calibration):
    """Return what is said of scores as a dictionary; it says no more than the class without a calibration."""
    best = max(scores, key=scores.get)
    if calibration is None:
        return {"class": best}
    temperature, unsure_below = calibration
    probability = probabilities(scores, temperature)[best]
    return {"class": best, "probability": round(probability, 4), "sure": probability >= unsure_below}


def describe(verdict):
    """Return a verdict in words, such as `dress  93 %`."""
    name = verdict["class"] if verdict.get("sure", True) else f"not sure, perhaps {verdict['class']}"
    return f"{name}  {percent(verdict['probability'])}" if "probability" in verdict else name


def draw(photo, scores, calibration):
    """Draw a photo beside the probability of each class; return the path of the PNG; raise PredictError."""
    from matplotlib.figure import Figure

    if calibration is None:
        raise PredictError(f"{photo}: no probabilities to draw, as {METRICS.name} holds no temperature")
    path = Path(f"{Path(urlsplit(photo).path).stem or 'photo'}-scores.png")
    shares = probabilities(scores, calibration[0])
    figure = Figure(figsize=(8, 4), layout="constrained")
    picture, bars = figure.subplots(1, 2)
    boxes = bars.barh(list(shares), [100 * share for share in shares.values()])
    bars.bar_label(boxes, fmt="%.1f", padding=3)
    bars.set(title=describe(judge(scores, calibration)), xlabel="probability, %", xlim=(0, 115))
    bars.invert_yaxis()
    picture.axis("off")
    try:
        data = requests.get(photo, timeout=TIMEOUT_SECONDS).content if is_address(photo) else Path(photo).read_bytes()
        picture.imshow(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise PredictError(f"{photo}: it cannot be drawn ({error})") from error
    return path


def show_progress(done, total):
    """Draw on a terminal how far it is, over the last drawing."""
    if total > 1 and sys.stderr.isatty():
        print(f"\r\033[K[{'#' * (30 * done // total):30}] {done} of {total}", end="", file=sys.stderr, flush=True)


def say(text, stream=sys.stdout):
    """Print a text where the progress was drawn."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(text, file=stream, flush=True)


def ask(photo, calibration, plot):
    """Return a photo's class and scores, or the error; draw them where that is asked for."""
    try:
        scores = predict(photo, endpoint())
        if plot:
            say(f"wrote {draw(photo, scores, calibration)}", sys.stderr)
    except PredictError as error:
        return {"photo": photo, "error": str(error)}
    return {"photo": photo, **judge(scores, calibration), "scores": scores}


def report(result, as_json, width):
    """Print the result for one of several photos, whose names are `width` wide, or for the only one, with width 0."""
    if as_json:
        say(json.dumps(result))
    elif "error" in result:
        say(f"test.py: {result['error']}", sys.stderr)
    elif width:
        say(f"{result['photo']:<{width}}  {describe(result)}")
    else:
        if not result.get("sure", True):
            say(f"test.py: {describe(result)}", sys.stderr)
        say(json.dumps(result["scores"], indent=2))
        say(result["class"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", default=[str(PHOTO)], metavar="PHOTO_FOLDER_OR_URL")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, with the class or the error")
    parser.add_argument("--plot", action="store_true", help="draw each photo beside its probabilities")
    arguments = parser.parse_args()
    photos, calibration, failed = list(find_photos(arguments.photos)), read_calibration(), False
    width = max(map(len, photos)) if len(photos) > 1 else 0
    try:
        for done, photo in enumerate(photos):
            show_progress(done, len(photos))
            result = ask(photo, calibration, arguments.plot)
            report(result, arguments.json, width)
            failed = failed or "error" in result
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(failed)


if __name__ == "__main__":
    main()
