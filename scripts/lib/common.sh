# SPDX-License-Identifier: Apache-2.0
# Shared by every script: where we are, how we speak, and uv. Source it; it runs nothing by itself.

# A failure inside $(...) must end the script too; bash 3.2 does not know the option.
shopt -s inherit_errexit 2>/dev/null || true

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
ENVS="$REPO/.envs"
LIB="$REPO/scripts/lib"
DEFAULT_AIRFLOW="3.3.1"
OTHER_AIRFLOW="2.10.3"

say() { printf '%s\n' "$*" >&2; }

die() {
    printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

usage_error() {
    printf '%s: %s (try --help)\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# Print the comment block at the top of the calling script.
print_help() { sed -n '3,/^[^#]/{/^#/s/^# \{0,1\}//p;}' "$0"; }

need_python() {
    command -v python3 >/dev/null || die "python3 is not on PATH; install Python 3.11 or later"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "python3 is $(python3 --version 2>&1), but Python 3.11 or later is needed"
}

# run_quietly LOG COMMAND...: show the output only when the command fails.
run_quietly() {
    local log="$1"
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 60 "$log" >&2
        return 1
    fi
}

# One process at a time per name, also between two scripts. A lock whose owner is gone is taken over.
lock() {
    local folder="$ENVS/locks/$1" owner waited=0
    mkdir -p "$ENVS/locks"
    until mkdir "$folder" 2>/dev/null; do
        owner="$(cat "$folder/pid" 2>/dev/null || true)"
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$folder"
            continue
        fi
        [ "$waited" = 0 ] && say "waiting for another run that prepares $1 (process ${owner:-unknown})"
        waited=$((waited + 1))
        [ "$waited" -gt 900 ] && die "still locked after 15 minutes: remove $folder if nothing uses it"
        sleep 1
    done
    echo "$$" >"$folder/pid"
}

unlock() { rm -rf "$ENVS/locks/$1"; }

# uv from a small environment of its own; never lets it fetch a Python.
bootstrap_uv() {
    need_python
    local tag folder
    tag="$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    folder="$ENVS/bootstrap-$tag"
    UV="$folder/bin/uv"
    BOOTSTRAP_PYTHON="$folder/bin/python"
    if [ -e "$folder/.complete" ] && "$UV" --version >/dev/null 2>&1; then
        return
    fi
    lock bootstrap
    if [ ! -e "$folder/.complete" ] || ! "$UV" --version >/dev/null 2>&1; then
        say "install uv for the scripts, in .envs/"
        rm -rf "$folder"
        if ! run_quietly "$ENVS/bootstrap.log" python3 -m venv "$folder"; then
            unlock bootstrap
            die "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
        fi
        if ! run_quietly "$ENVS/bootstrap.log" "$BOOTSTRAP_PYTHON" -m pip install 'uv>=0.5' 'packaging>=23'; then
            unlock bootstrap
            die "pip could not install uv; see the lines above"
        fi
        touch "$folder/.complete"
    fi
    unlock bootstrap
}

# uv does not read pip's configuration: an index that is set for pip on this machine must keep working.
configure_index() {
    [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${INDEX_ASKED:-}" ] || return 0
    INDEX_ASKED=1
    local index="${PIP_INDEX_URL:-}"
    if [ -z "$index" ]; then
        index="$("$BOOTSTRAP_PYTHON" -m pip config get global.index-url 2>/dev/null ||
            "$BOOTSTRAP_PYTHON" -m pip config get install.index-url 2>/dev/null || true)"
    fi
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
}

uv() {
    configure_index
    "$UV" --no-python-downloads "$@"
}
