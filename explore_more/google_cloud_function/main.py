"""The classifier as a Google Cloud Function: POST {"url": …} or {"image": base64}, and get scores.

PYTHONPATH=../.. functions-framework --source main.py --target classify
"""

from threading import Lock

import functions_framework

lock = Lock()  # the framework answers several requests at once, but the model only one


@functions_framework.http
def classify(request):
    """Answer a request as API Gateway and AWS Lambda would."""
    with lock:
        # The framework reads this file and then forks; the threads of a model loaded before would not survive.
        from lambda_function import lambda_handler  # noqa: PLC0415

        answer = lambda_handler({"body": request.get_data(as_text=True)}, None)
    return answer["body"], answer["statusCode"], answer["headers"]
