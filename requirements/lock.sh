#!/usr/bin/env bash
# Resolve requirements/*.in into locked, hashed requirements/*.txt. Needs uv; `make lock` calls it.
# Usage: requirements/lock.sh [--upgrade]
set -Eeuo pipefail

# Lambda's Python 3.8 to 3.11 images have glibc 2.26, the newer ones glibc 2.34; a wheel for an
# older glibc also fits.
readonly OLD_GLIBC=x86_64-manylinux_2_17
readonly NEW_GLIBC=x86_64-manylinux_2_34

# What LiteRT asks for and its interpreter never imports.
readonly UNUSED=(backports-strenum flatbuffers ml-dtypes protobuf tqdm typing-extensions)

cd "$(dirname "$0")"

lock() {
  uv pip compile --quiet --generate-hashes --no-header --no-annotate "$@"
}

lock_inference() {
  local platform=$1 version
  shift
  for version in "$@"; do
    lock inference.in --python-version "$version" --python-platform "$platform" \
      --only-binary :all: "${UNUSED[@]/#/--no-emit-package=}" --output-file "python${version}.txt" "${UPGRADE[@]}"
  done
}

lock_benchmark() {
  lock "$1.in" --python-version 3.13 --python-platform "$NEW_GLIBC" --output-file "$1.txt" "${UPGRADE[@]}"
}

readonly UPGRADE=("$@")
lock_inference "$OLD_GLIBC" 3.8 3.9 3.10 3.11
lock_inference "$NEW_GLIBC" 3.12 3.13 3.14
lock_benchmark onnx
lock_benchmark keras
lock_benchmark export
# matplotlib takes the numpy and Pillow that the function has.
lock local.in --universal --python-version 3.8 --no-emit-package numpy --no-emit-package pillow \
  --output-file local.txt "${UPGRADE[@]}"
lock emulator.in --universal --python-version 3.8 --no-deps --output-file emulator.txt "${UPGRADE[@]}"
lock ../tests/harness/stand_in/requirements.in --universal --python-version 3.8 \
  --output-file ../tests/harness/stand_in/requirements.txt "${UPGRADE[@]}"
lock aws.in --universal --python-version 3.10 --output-file aws.txt "${UPGRADE[@]}"
lock dev.in --universal --python-version 3.9 --output-file dev.txt "${UPGRADE[@]}"
