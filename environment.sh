#!/bin/sh
# Make a virtual environment with Python 3.11 (TensorFlow Addons supports no later version) and the locked dependencies.
# Usage: sh environment.sh FOLDER
set -eu
folder=$1

is_3_11() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

# If Python 3.11 is not installed, uv downloads it.
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
    echo "Install it (on Debian 12: apt install python3-venv), or set its path: PYTHON=/path/to/python3.11 make" >&2
    exit 1
fi
rm -rf "$folder.uv"

# The lock is complete, so --no-deps: otherwise pip would resolve the extra pydantic[email], which is not in the lock,
# to the newest pydantic. The check at the end reports missing dependencies.
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
"$folder/bin/pip" check --disable-pip-version-check
