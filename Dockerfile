# The Lambda image: docker build --build-arg PYTHON_VERSION=3.13 -t clothing-classifier .
ARG PYTHON_VERSION=3.8
ARG BASE=public.ecr.aws/lambda/python:${PYTHON_VERSION}

FROM ${BASE} AS build
ARG PYTHON_VERSION
COPY requirements/python${PYTHON_VERSION}.txt /tmp/requirements.txt
RUN python3 -m pip install --quiet --no-cache-dir --no-deps --require-hashes --target /packages -r /tmp/requirements.txt
# Tests of the packages, and what LiteRT brings for other hardware.
RUN cd /packages && rm -rf bin numpy/tests numpy/*/tests \
    ai_edge_litert/aot ai_edge_litert/tools ai_edge_litert/vendors ai_edge_litert/libLiteRt*.so
COPY clothing_model.tflite /model/
COPY addresses.py download.py errors.py image_source.py interpreter.py lambda_function.py limits.py /code/
# Lambda runs the function as a user who does not own these files.
RUN chmod -R a+rX /model /code

FROM ${BASE} AS function
COPY --from=build /packages ./
COPY --from=build /model ./
COPY --from=build /code ./
CMD ["lambda_function.lambda_handler"]

# Scoring a photo proves that the packages fit this Python and glibc, and compiles the code.
FROM function AS check
COPY tests/check_image.py tests/photos/pants/pants-1.jpg /tmp/
RUN python3 /tmp/check_image.py

FROM function
COPY --from=check /var/task/__pycache__ ./__pycache__
