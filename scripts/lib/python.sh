# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts, in any POSIX shell: `run NAME ARGUMENT...` becomes lib/NAME.py with a Python that is new
# enough. Everything else is written in Python, where a command that fails is never overlooked.

# usable PYTHON: a pyenv shim may name a version that isn't there.
usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null; }

# What a shell may have set for another Python, and `cd` would obey.
unset CDPATH PYTHONHOME PYTHONSAFEPATH

run() {
    lib="$(cd "$(dirname "$0")/lib" && pwd)" || exit 1
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if usable "$python"; then
            exec "$python" "$lib/bootstrap.py" "$@"
        fi
    done
    if command -v python3 >/dev/null; then
        found="python3 on PATH is $(python3 --version 2>&1 | head -n 1)"
    else
        found="there is no python3 on PATH"
    fi
    printf '%s: error: %s; install Python 3.11 or later\n' "$(basename "$0")" "$found" >&2
    exit 1
}
