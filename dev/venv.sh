#!/bin/sh
# Usage: venv.sh PYTHON DIR. Installs requirements-dev.lock into a new virtual environment at DIR.
# The project itself is not installed: make puts operator/ on the path, so checkouts share one environment.
set -eu
python=$1 venv=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed and '$python' is not: install it, or name one with make PYTHON=python3.12" >&2
    exit 1
}
if [ "$("$python" -c 'import ensurepip' 2>&1)" ]; then
    echo "'$python' has no ensurepip, so it cannot make virtual environments: install python3-venv" >&2
    exit 1
fi
mkdir -p "$(dirname "$venv")"
if command -v flock >/dev/null; then # two checkouts may share it, and one make must not remove what another fills
    exec 9>"$venv.lock"
    flock 9
    [ ! -e "$venv/.complete" ] || exit 0
fi
echo "venv: installing the locked packages (about 1 minute) into $venv"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
touch "$venv/.complete"
echo "venv: ready"
