#!/bin/sh
# Usage: lock.sh VENV. Resolves pyproject.toml into the two lock files: the image installs requirements.lock,
# developers and CI requirements-dev.lock. Neither names an index: each machine's own configuration does.
set -eu
"$1/bin/python" -m pip install --quiet 'uv>=0.9,<1'
uv="$1/bin/uv"
set -- --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --quiet
"$uv" pip compile pyproject.toml "$@" -o requirements.lock
"$uv" pip compile pyproject.toml --extra dev -c requirements.lock "$@" -o requirements-dev.lock
echo "lock: requirements.lock and requirements-dev.lock are up to date with pyproject.toml"
