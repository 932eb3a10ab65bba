"""Load a TFLite model into whichever runtime is installed: LiteRT, or tflite-runtime on Python 3.8."""

import ctypes
import os

try:
    import ai_edge_litert.interpreter as tflite
except ImportError:
    import tflite_runtime.interpreter as tflite

MB_PER_CORE = 1769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html

# The instructions by which XNNPACK chooses its int8 kernels, and their flags in /proc/cpuinfo, on x86 and on arm64
INSTRUCTIONS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "dotprod": {"asimddp"},
    "i8mm": {"i8mm"},
}


def instructions(path="/proc/cpuinfo"):
    """Return which of INSTRUCTIONS the processor has, or an empty list if Linux does not say."""
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), ())
    return [name for name, names in INSTRUCTIONS.items() if names & set(flags)]


def thread_count():
    """Return one thread for each whole core. Lambda sells cores by memory, and hides how many a function has."""
    megabytes = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    cores = os.cpu_count()
    return max(1, min(cores, int(megabytes) // MB_PER_CORE)) if megabytes else cores


def load_model(path):
    """Return the model in a file as a function: float32 (1, H, W, 3) in [-1, 1] to float32 (1, classes) logits.

    Raise ValueError if this runtime cannot run it.
    """
    num_threads = thread_count()
    interpreter = tflite.Interpreter(
        path, experimental_delegates=xnnpack_delegates(num_threads), num_threads=num_threads
    )
    interpreter.allocate_tensors()
    if not is_delegated(interpreter):
        print("XNNPACK cannot run here. The answers stay right, but an int8 model takes seconds.")
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]

    def model(X):
        interpreter.set_tensor(input_index, X)
        interpreter.invoke()
        return interpreter.get_tensor(output_index)

    return model


def is_delegated(interpreter):
    """Return whether XNNPACK runs the graph: its DELEGATE node is then the last."""
    last = interpreter._interpreter.NumNodes() - 1
    return interpreter._get_op_details(last)["op_name"] == "DELEGATE"


def xnnpack_delegates(num_threads):
    """Return the delegates to add: XNNPACK for tflite-runtime, none for LiteRT, which adds its own."""
    if tflite.__name__.startswith("ai_edge_litert"):
        return None
    try:
        delegate = XNNPackDelegate(num_threads)
    except (AttributeError, OSError):
        return None
    return [delegate] if delegate.pointer else None


class XNNPackOptions(ctypes.Structure):
    """TfLiteXNNPackDelegateOptions of TensorFlow 2.7, lite/delegates/xnnpack/xnnpack_delegate.h."""

    _fields_ = [("num_threads", ctypes.c_int32), ("flags", ctypes.c_uint32)]


class XNNPackDelegate:
    """XNNPACK in tflite-runtime 2.7, where it is compiled in and exported, but not switched on."""

    SIGNED_INT8 = 1  # TFLITE_XNNPACK_DELEGATE_FLAG_QS8

    def __init__(self, num_threads):
        library = ctypes.CDLL(tflite._interpreter_wrapper.__file__)
        create = library.TfLiteXNNPackDelegateCreate
        create.restype = ctypes.c_void_p
        self.pointer = create(ctypes.byref(XNNPackOptions(num_threads, self.SIGNED_INT8)))

    def _get_native_delegate_pointer(self):
        return self.pointer
