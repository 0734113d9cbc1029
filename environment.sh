#!/bin/sh
# Make a virtual environment with Python 3.11 (TensorFlow Addons knows no later one) and the locked dependencies.
# Usage: sh environment.sh FOLDER
set -eu
folder=$1

is_3_11() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

# Where there is no Python 3.11, uv brings one, if the network lets it.
with_uv() {
    uv=$(command -v uv || true)
    if [ -z "$uv" ]; then
        python3 -m venv "$folder.uv" && "$folder.uv/bin/pip" install --quiet uv && uv=$folder.uv/bin/uv
    fi
    [ -n "$uv" ] && "$uv" venv --quiet --clear --seed --python 3.11 "$folder"
}

rm -rf "$folder"
for python in "${PYTHON:-python3.11}" python3.11 python3 python; do
    if is_3_11 "$python" && "$python" -m venv "$folder" 2>/dev/null; then
        made=yes
        break
    fi
done
if [ -z "${made:-}" ] && ! with_uv; then
    echo "Lookalike needs Python 3.11 with its venv module, and none was found or could be fetched." >&2
    echo "Install it (on Debian 12: apt install python3-venv), or name one: PYTHON=/path/to/python3.11 make" >&2
    exit 1
fi
rm -rf "$folder.uv"

# The lock names everything, so that pip has nothing to resolve; left to it, it takes the newest pydantic for the
# extra pydantic[email], which the lock has not. The check at the end tells of anything that the lock lacks.
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
"$folder/bin/pip" check --disable-pip-version-check
