"""Print the function's answer for each photo as one JSON line, on whichever Python runs this.

python tests/predict_photos.py PHOTO…
"""

import base64
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_function import lambda_handler

for photo in sys.argv[1:]:
    with redirect_stdout(sys.stderr):
        scores = lambda_handler({"image": base64.b64encode(Path(photo).read_bytes()).decode()}, None)
    print(json.dumps(scores, allow_nan=False))
