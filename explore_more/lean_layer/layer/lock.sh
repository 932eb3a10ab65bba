#!/usr/bin/env bash
# Resolve layer/requirements/*.in again, for Lambda's Python 3.13. Needs uv; `make lock-layers` calls it.
# Usage: layer/lock.sh [--upgrade]
set -Eeuo pipefail
cd "$(dirname "$0")/requirements"

for file in *.in; do
  uv pip compile --quiet --generate-hashes --no-header --no-annotate --only-binary :all: \
    --python-version 3.13 --python-platform x86_64-manylinux_2_34 "$file" --output-file "${file%.in}.txt" "$@"
done
