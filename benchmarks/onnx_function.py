"""The function on ONNX Runtime, which the course uses now."""

import onnxruntime
from rival import MODEL, THREADS, make_handler

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = THREADS
session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name


def infer(X):
    return session.run(None, {input_name: X})[0]


lambda_handler = make_handler(infer)
