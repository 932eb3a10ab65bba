"""What the model file says of itself."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import ROOT
from tensorflow.lite.python import schema_py_generated as schema

from lambda_function import CLASSES

MODEL = ROOT / "clothing_model.tflite"
OLDEST_RUNTIME = (2, 7, 0)


def test_the_model_maps_a_photo_to_ten_logits():
    interpreter = Interpreter(str(MODEL))
    (photo,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (photo["shape"].tolist(), photo["dtype"]) == ([1, 299, 299, 3], np.float32)
    assert (logits["shape"].tolist(), logits["dtype"]) == ([1, len(CLASSES)], np.float32)


@pytest.fixture(scope="module")
def model():
    """The flatbuffer as an object."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODEL.read_bytes()))


def test_the_model_asks_for_no_newer_runtime_than_the_oldest_that_is_bundled(model):
    (metadata,) = [m for m in model.metadata if m.name == b"min_runtime_version"]
    text = bytes(model.buffers[metadata.buffer].data).rstrip(b"\0").decode()
    assert tuple(map(int, text.split("."))) <= OLDEST_RUNTIME


def operators(model, builtin):
    """Return the model's only graph, its operators of one builtin kind, and their versions."""
    (graph,) = model.subgraphs
    found = [o for o in graph.operators if model.operatorCodes[o.opcodeIndex].builtinCode == builtin]
    assert found
    return graph, found, [model.operatorCodes[o.opcodeIndex].version for o in found]


def test_the_dense_layers_are_quantized_per_tensor(model):
    """Per channel they are FULLY_CONNECTED version 12, which tflite-runtime 2.7 answers with zeros."""
    graph, dense, versions = operators(model, schema.BuiltinOperator.FULLY_CONNECTED)
    assert max(versions) < 12
    assert all(len(graph.tensors[o.inputs[1]].quantization.scale) == 1 for o in dense)


def test_convolutions_compute_in_int8(model):
    graph, convolutions, _ = operators(model, schema.BuiltinOperator.CONV_2D)
    assert {graph.tensors[o.inputs[0]].type for o in convolutions} == {schema.TensorType.INT8}


def test_every_relu_is_inside_another_operator(model):
    """XNNPACK runs no RELU on int8 by itself; convert_model.py moves those of sums into the addition."""
    kinds = {model.operatorCodes[operator.opcodeIndex].builtinCode for operator in model.subgraphs[0].operators}
    assert schema.BuiltinOperator.ADD in kinds
    assert schema.BuiltinOperator.RELU not in kinds
