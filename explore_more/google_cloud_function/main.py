"""The classifier as a Google Cloud Function: POST {"url": …} or {"image": base64}, and get scores.

PYTHONPATH=../.. functions-framework --source main.py --target classify
"""

from threading import Lock

import functions_framework

lock = Lock()  # the framework answers several requests at once, and a model one


@functions_framework.http
def classify(request):
    """Answer as API Gateway does in front of AWS Lambda."""
    with lock:
        # The framework forks after it has read this file, and the model's threads would not live through that.
        from lambda_function import lambda_handler  # noqa: PLC0415

        answer = lambda_handler({"body": request.get_data(as_text=True)}, None)
    return answer["body"], answer["statusCode"], answer["headers"]
