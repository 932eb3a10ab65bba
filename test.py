"""Ask the function to classify photos.

python test.py                                      print the ten scores and the class of a photo of trousers
python test.py photo.jpg https://example.com/a.png  print one line per file or address
python test.py photos/ 'more/*.webp'                classify the photos in a folder, and those that match a pattern
python test.py --json photos/                       print one JSON object per line
python test.py --plot photo.jpg                     also draw the photo and its probabilities in photo-scores.png

The client uses the first of these endpoints that is set:

1. the URL in PREDICT_URL
2. stage `test` of the REST or HTTP API with the id API_NUMBER in AWS_REGION
3. the endpoint that deploy.sh saved
4. the function that `make run` serves on localhost:8080

If the API needs a key, set PREDICT_API_KEY.
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
# The function's formats and limits, copied from limits.py and image_source.py. A photo that does not meet them is sent
# as a JPEG of at most SMALL_SIDE pixels a side, as the page does.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_INLINE_BYTES = 4_400_000  # as base64 in JSON, this nearly fills the 6 MB that Lambda accepts
MAX_PIXELS = 25_000_000
MAX_SIDE = 65_535
SMALL_SIDE = 1600
JPEG_QUALITY = 92
# The files in a folder that count as photos.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif", ".avif", ".tif", ".tiff")


class PredictError(Exception):
    """The reason why a photo got no scores or no plot, as one line."""


def endpoint(environ=os.environ):
    """Return the URL to POST to, the first in the module's list that is set."""
    if environ.get("PREDICT_URL"):
        return environ["PREDICT_URL"]
    if environ.get("AWS_REGION") and environ.get("API_NUMBER"):
        return f"https://{environ['API_NUMBER']}.execute-api.{environ['AWS_REGION']}.amazonaws.com/test/predict"
    if SAVED_ENDPOINT.exists():
        return SAVED_ENDPOINT.read_text().strip()
    return LOCAL_ENDPOINT


def is_address(photo):
    """Return whether a photo is named by a web address and not by a path."""
    return photo.startswith(("http://", "https://"))


def find_photos(names):
    """Yield each file or address as it is named, and for each folder or pattern its files in alphabetical order."""
    for name in names:
        if Path(name).is_dir():
            yield from list_folder(name) or [name]
        elif is_address(name) or Path(name).exists():
            yield name
        else:
            yield from sorted(filter(os.path.isfile, glob.glob(name, recursive=True))) or [name]


def list_folder(folder):
    """Return the photos in a folder and its subfolders, without hidden ones."""
    pattern = str(Path(glob.escape(folder)) / "**/*")
    return [path for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).suffix.lower() in SUFFIXES]


def make_request(photo):
    """Return {"url": photo} for an address or {"image": base64} for a file; raise PredictError."""
    if is_address(photo):
        return {"url": photo}
    try:
        data = Path(photo).read_bytes()
    except IsADirectoryError:
        raise PredictError(f"{photo}: the folder contains no photos") from None
    except OSError as error:
        raise PredictError(f"{photo}: {error.strerror}") from error
    if not data:
        raise PredictError(f"{photo}: the file is empty")
    return {"image": base64.b64encode(shrink(photo, data)).decode()}


def shrink(photo, data):
    """Return a photo's bytes if the function takes them, otherwise an upright JPEG of at most SMALL_SIDE pixels a side.

    Raise PredictError if the file is too large and cannot be read as a photo.
    """
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
            return data  # the function will say what is wrong
        message = f"over {MAX_INLINE_BYTES:,} bytes, and cannot be read as a photo to make it smaller"
        raise PredictError(f"{photo}: {message}") from error
    buffer = io.BytesIO()
    on_white(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def on_white(image):
    """Return an image in RGB, with a white background if it is transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def make_headers(environ=os.environ):
    """Return the headers of a request: the API key from PREDICT_API_KEY, if that is set."""
    return {"x-api-key": environ["PREDICT_API_KEY"]} if environ.get("PREDICT_API_KEY") else {}


def predict(photo, url):
    """Return {class: logit} for a file or an address; raise PredictError."""
    request = make_request(photo)
    try:
        response = requests.post(url, json=request, headers=make_headers(), timeout=TIMEOUT_SECONDS)
        answer = response.json()
    except requests.exceptions.JSONDecodeError:
        raise PredictError(f"{url} answered HTTP {response.status_code} without JSON; check the address") from None
    except (requests.exceptions.RequestException, HTTPError) as error:
        hint = "; is `make run` running?" if "localhost" in url or "127.0.0.1" in url else ""
        raise PredictError(f"no answer from {url} ({type(error).__name__}){hint}") from error
    if not (response.ok and is_scores(answer)):
        raise PredictError(f"{photo}: {describe_error(answer, response.status_code)}")
    return answer


def is_scores(answer):
    """Return whether an answer maps class names to numbers."""
    return isinstance(answer, dict) and answer and all(isinstance(score, float) for score in answer.values())


def describe_error(answer, status):
    """Return one line that describes an error from Lambda, the function, API Gateway or a function URL."""
    answer = answer if isinstance(answer, dict) else {"message": json.dumps(answer)}
    if "errorMessage" in answer:
        return " ".join(f"{answer.get('errorType')}: {answer['errorMessage']}".split())
    error = answer["error"] if isinstance(answer.get("error"), dict) else answer
    message = error.get("message") or error.get("Message") or json.dumps(error)
    return " ".join(f"HTTP {status}, {error.get('code', 'error')}: {message}".split())


def read_calibration(path=METRICS):
    """Return the temperature, and the probability below which an answer is not sure, from metrics.json, or None."""
    try:
        metrics = json.loads(path.read_text())
        return metrics["temperature"], metrics["not sure below"]
    except (OSError, ValueError, KeyError):
        return None


def probabilities(scores, temperature):
    """Return {class: probability}, the softmax of logits / temperature, with the likeliest class first."""
    most = max(scores.values())
    powers = {name: math.exp((score - most) / temperature) for name, score in scores.items()}
    total = sum(powers.values())
    return {name: powers[name] / total for name in sorted(powers, key=powers.get, reverse=True)}


def percent(probability):
    """Return a probability as text, which never calls a class certain."""
    return "over 99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def judge(scores, calibration):
    """Return the verdict on scores: {"class", "probability", "sure"}, or only {"class"} without a calibration."""
    best = max(scores, key=scores.get)
    if calibration is None:
        return {"class": best}
    temperature, unsure_below = calibration
    probability = probabilities(scores, temperature)[best]
    return {"class": best, "probability": round(probability, 4), "sure": probability >= unsure_below}


def describe(verdict):
    """Return a verdict as text, such as `dress  93 %`."""
    name = verdict["class"] if verdict.get("sure", True) else f"not sure, perhaps {verdict['class']}"
    return f"{name}  {percent(verdict['probability'])}" if "probability" in verdict else name


def draw(photo, scores, calibration):
    """Draw a photo beside the probability of each class and return the path of the PNG; raise PredictError."""
    from matplotlib.figure import Figure

    if calibration is None:
        raise PredictError(f"{photo}: cannot draw probabilities without the temperature in {METRICS.name}")
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
        raise PredictError(f"{photo}: cannot make the plot ({error})") from error
    return path


def show_progress(done, total):
    """Draw a progress bar over the last one, if stderr is a terminal."""
    if total > 1 and sys.stderr.isatty():
        print(f"\r\033[K[{'#' * (30 * done // total):30}] {done} of {total}", end="", file=sys.stderr, flush=True)


def say(text, stream=sys.stdout):
    """Print a line of text in place of the progress bar."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(text, file=stream, flush=True)


def ask(photo, calibration, plot):
    """Return a photo's verdict and scores, or its error, as a dictionary; draw a plot if `plot` is true."""
    try:
        scores = predict(photo, endpoint())
        if plot:
            say(f"wrote {draw(photo, scores, calibration)}", sys.stderr)
    except PredictError as error:
        return {"photo": photo, "error": str(error)}
    return {"photo": photo, **judge(scores, calibration), "scores": scores}


def report(result, as_json, width):
    """Print a photo's result. `width` is that of the longest name among several photos, or 0 for a single photo."""
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
    parser.add_argument("--json", action="store_true", help="print one JSON object per photo, on a line of its own")
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
