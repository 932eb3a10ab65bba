#!/usr/bin/env bash
# Print the name of an image to build on: AWS's Lambda image for Python if it can be pulled, otherwise
# a stand-in made of Debian, this machine's CPython, AWS's runtime client and SDK, and AWS's emulator.
# The image also gets the further names, for tools that pull an image by its name.
# Usage: tests/harness/base_image.sh 3.13 [public.ecr.aws/lambda/python:3.13-x86_64 …]
set -Eeuo pipefail

readonly VERSION=$1
readonly AWS_IMAGE=public.ecr.aws/lambda/python:$VERSION
readonly DEBIAN=lambda-stand-in-debian
readonly STAND_IN=lambda-stand-in-python:$VERSION
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

cd "$(dirname "$0")/../.."

make_debian() {
  local root
  root=$(mktemp -d)
  debootstrap --variant=minbase --include=libssl3,libbz2-1.0,zlib1g bookworm "$root"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/{doc,locale,man}
  tar -C "$root" -c . | docker import - "$DEBIAN"
  rm -rf "$root"
}

# A CPython in a folder of its own, such as pyenv's, can be moved to /var/lang.
make_stand_in() {
  local context prefix
  context=$(mktemp -d)
  prefix=$("python$VERSION" -c 'import sys; print(sys.base_prefix)')
  [[ $prefix != /usr ]] || { echo "base_image.sh: Python $VERSION must be installed in a folder of its own" >&2; exit 1; }
  mkdir "$context/lang"
  tar -C "$prefix" --exclude test --exclude '*.a' --exclude share -c . | tar -C "$context/lang" -x
  cp tests/harness/stand_in/* requirements/emulator.txt "$CERTIFICATES" "$context"
  cat /etc/pip.conf >"$context/pip.conf" 2>/dev/null || true
  docker build --build-arg BASE="$DEBIAN" --tag "$STAND_IN" "$context"
  rm -rf "$context"
}

# Set IMAGE.
find_image() {
  IMAGE=$AWS_IMAGE
  docker pull --quiet --platform linux/amd64 "$AWS_IMAGE" >&2 && return
  IMAGE=$STAND_IN
  docker image inspect "$DEBIAN" >/dev/null 2>&1 || make_debian >&2
  make_stand_in >&2
}

main() {
  local name
  find_image
  for name in "$@"; do
    docker tag "$IMAGE" "$name"
  done
  echo "$IMAGE"
}

main "${@:2}"
