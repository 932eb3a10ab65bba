#!/usr/bin/env bash
# Run classify.py in its environment, with the classifier's modules. Usage: ./classify.sh FOLDER | s3://BUCKET/PREFIX …
set -Eeuo pipefail

folder=$(dirname "$(readlink -f "$0")")
readonly folder

make --silent -C "$folder" .venv/installed >&2
PYTHONPATH=$folder:$folder/../.. exec "$folder/.venv/bin/python" -m classify "$@"
