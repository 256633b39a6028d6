# SPDX-License-Identifier: Apache-2.0
# bash startup_wrapper.sh SCRIPT EXPORTS: run a startup script as MWAA's containers do, then write what it has
# exported to a file, as NAME=VALUE records that end in NUL; an empty record says that all are there.
#
# `exit` in the script ends it, and what it has exported by then counts. A script that `set -e`, `exec` or a signal
# ends never gets to write, and so fails, as in MWAA's images.

__startup_script=$1 __startup_exports=$2
set --

__startup_write() {
    { set +xeuvf; } 2>/dev/null
    local IFS=$'\n' __startup_name
    for __startup_name in $(compgen -e); do
        builtin printf '%s\0' "$__startup_name=${!__startup_name}"
    done >"$__startup_exports"
    builtin printf '\0' >>"$__startup_exports"
}

exit() {
    local __startup_status=${1-$?}
    # Not in a subshell, whose end is not the script's. Bash 3 can't tell, and writes again at the end.
    [ "${BASHPID-$$}" != "$$" ] || __startup_write
    builtin exit "$__startup_status"
}

# shellcheck disable=SC1090
source "$__startup_script"
exit
