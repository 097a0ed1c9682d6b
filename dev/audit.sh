#!/bin/sh
# Usage: audit.sh VENV. Asks the vulnerability service of the package index about every locked package.
# pip-audit runs in an environment of its own, so that what it needs is nobody else's dependency.
set -eu
"$1/bin/python" -m pip install --quiet 'uv>=0.9,<1'
for lock in ${AUDIT_LOCKS:-requirements.lock requirements-dev.lock}; do
    "$1/bin/uv" tool run --quiet --from 'pip-audit==2.10.1' pip-audit --strict --progress-spinner off \
        --disable-pip --require-hashes -r "$lock"
done
