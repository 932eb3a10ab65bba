"""Ask the function for the class of photos.

python test.py                                    the repository's photo of trousers
python test.py photo.jpg https://example.com/a.png  files, sent as base64, and addresses
python test.py --plot photo.jpg                   also draw the photo beside its probabilities, in photo-scores.png

The endpoint is PREDICT_URL, else the REST API of AWS_REGION and API_NUMBER, else what deploy.sh
saved, else the function that `make run` serves on localhost:8080. PREDICT_API_KEY is the key of an API
that asks for one.
"""

import argparse
import base64
import io
import json
import math
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "tests/photos/pants/pants-1.jpg"
SAVED_ENDPOINT = FOLDER / ".predict-url"
LOCAL_ENDPOINT = "http://localhost:8080/2015-03-31/functions/function/invocations"
TIMEOUT_SECONDS = 60
MAX_INLINE_BYTES = 4_400_000  # as base64 with its JSON, what Lambda takes: 6 MB


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


def make_request(photo):
    """Return {"url": photo} for an address and {"image": base64} for a file; raise PredictError."""
    if is_address(photo):
        return {"url": photo}
    try:
        data = Path(photo).read_bytes()
    except OSError as error:
        raise PredictError(f"{photo}: {error.strerror}") from error
    if len(data) > MAX_INLINE_BYTES:
        raise PredictError(f"{photo}: over {MAX_INLINE_BYTES:,} bytes; make it smaller, or send its address")
    return {"image": base64.b64encode(data).decode()}


def make_headers(environ=os.environ):
    """Return the header with the key in PREDICT_API_KEY, or none."""
    return {"x-api-key": environ["PREDICT_API_KEY"]} if environ.get("PREDICT_API_KEY") else {}


def predict(photo, url):
    """Return {class: logit} for a file or an address; raise PredictError."""
    try:
        response = requests.post(url, json=make_request(photo), headers=make_headers(), timeout=TIMEOUT_SECONDS)
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
    """Return one line for an error of Lambda's, of the function's or of API Gateway's."""
    answer = answer if isinstance(answer, dict) else {"message": json.dumps(answer)}
    if "errorMessage" in answer:
        return " ".join(f"{answer.get('errorType')}: {answer['errorMessage']}".split())
    error = answer["error"] if isinstance(answer.get("error"), dict) else answer
    message = error.get("message", json.dumps(error))
    return " ".join(f"HTTP {status}, {error.get('code', 'error')}: {message}".split())


def probabilities(scores):
    """Return {class: probability} by softmax, the likeliest first."""
    most = max(scores.values())
    powers = {name: math.exp(score - most) for name, score in scores.items()}
    total = sum(powers.values())
    return {name: powers[name] / total for name in sorted(powers, key=powers.get, reverse=True)}


def draw(photo, scores):
    """Draw a photo beside the probability of each class; return the path of the PNG; raise PredictError."""
    from matplotlib.figure import Figure
    from PIL import Image, ImageOps

    path = Path(f"{Path(urlsplit(photo).path).stem or 'photo'}-scores.png")
    shares = probabilities(scores)
    figure = Figure(figsize=(8, 4), layout="constrained")
    picture, bars = figure.subplots(1, 2)
    boxes = bars.barh(list(shares), [100 * share for share in shares.values()])
    bars.bar_label(boxes, fmt="%.1f", padding=3)
    bars.set(title=next(iter(shares)), xlabel="probability, %", xlim=(0, 115))
    bars.invert_yaxis()
    picture.axis("off")
    try:
        data = requests.get(photo, timeout=TIMEOUT_SECONDS).content if is_address(photo) else Path(photo).read_bytes()
        picture.imshow(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise PredictError(f"{photo}: it cannot be drawn ({error})") from error
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", default=[str(PHOTO)], metavar="PHOTO_OR_URL")
    parser.add_argument("--plot", action="store_true", help="draw each photo beside its probabilities")
    arguments = parser.parse_args()
    failed = False
    for photo in arguments.photos:
        try:
            scores = predict(photo, endpoint())
            if arguments.plot:
                print(f"wrote {draw(photo, scores)}", file=sys.stderr)
        except KeyboardInterrupt:
            sys.exit(130)
        except PredictError as error:
            print(f"test.py: {error}", file=sys.stderr)
            failed = True
        else:
            print(json.dumps(scores, indent=2))
            print(max(scores, key=scores.get))
    sys.exit(failed)


if __name__ == "__main__":
    main()
