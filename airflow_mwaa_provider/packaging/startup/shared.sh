# SPDX-License-Identifier: Apache-2.0
# Sourced by bash in each container of MWAA. It changes no option of the shell, and whatever fails is one line in the
# log: the container starts nevertheless. What all parts share comes first; a second part defines the same again.
# The user's own lines come before. Therefore all names begin with airflow_mwaa_, because an assignment to a read-only
# variable leaves the whole part; functions find programs with type -P, which ignores aliases; and what `set -a` exports
# is taken back.

# airflow_mwaa_now NAME: set a variable to the time, in seconds; a script may change SECONDS.
airflow_mwaa_now() {
    builtin printf -v "$1" '%(%s)T' -1
}

# All parts together take 4 minutes at most. MWAA ends a script after 295 seconds, and other lines come first.
if [[ -z ${airflow_mwaa_deadline-} ]]; then
    builtin printf -v airflow_mwaa_deadline '%(%s)T' -2 # when this shell started
    airflow_mwaa_now airflow_mwaa_began
    if ((airflow_mwaa_began - airflow_mwaa_deadline < 45)); then
        airflow_mwaa_deadline=$((airflow_mwaa_began + 240))
    else
        airflow_mwaa_deadline=$((airflow_mwaa_deadline + 285))
    fi
fi

airflow_mwaa_say() {
    builtin printf 'airflow-mwaa: %s\n' "$*" || :
}

# airflow_mwaa_is_in COMPONENT...: whether this container is one of these. A hybrid one is both worker and scheduler.
airflow_mwaa_is_in() {
    local airflow_mwaa_name || return
    for airflow_mwaa_name in "$@"; do
        case ${MWAA_AIRFLOW_COMPONENT-}:$airflow_mwaa_name in
            "$airflow_mwaa_name:$airflow_mwaa_name" | hybrid:worker | hybrid:scheduler) return 0 ;;
        esac
    done
    return 1
}

# airflow_mwaa_limited [--as-root] SECONDS COMMAND...: run a command for this time at most; for a minute on a web server,
# because every connection hangs on a private one.
airflow_mwaa_limited() {
    local airflow_mwaa_as_root=0 airflow_mwaa_limit airflow_mwaa_left airflow_mwaa_timeout || return
    if [[ $1 == --as-root ]]; then
        ((EUID == 0)) || airflow_mwaa_as_root=1
        shift
    fi
    airflow_mwaa_limit=$1
    shift
    airflow_mwaa_now airflow_mwaa_left
    airflow_mwaa_left=$((airflow_mwaa_deadline - airflow_mwaa_left))
    if airflow_mwaa_is_in webserver && ((airflow_mwaa_left > 60)); then airflow_mwaa_left=60; fi
    if ((airflow_mwaa_limit > airflow_mwaa_left)); then airflow_mwaa_limit=$airflow_mwaa_left; fi
    if ((airflow_mwaa_limit <= 0)); then
        airflow_mwaa_say "no time is left for: $1" >&2
        return 124
    fi
    if airflow_mwaa_timeout=$(type -P timeout); then
        set -- "$airflow_mwaa_timeout" -k 5 "$airflow_mwaa_limit" "$@"
    fi
    if ((airflow_mwaa_as_root)); then set -- sudo -n "$@"; fi # only root can end what runs as root
    "$@" </dev/null
}

# airflow_mwaa_export NAME VALUE: like an assignment, but for a read-only variable it only fails.
airflow_mwaa_export() {
    unset -v "$1" && export "$1=$2"
}

# Put the programs of all parts first on PATH, once.
airflow_mwaa_on_path() {
    case :$PATH: in
        *":$HOME/.airflow-mwaa/bin:"*) ;;
        *) airflow_mwaa_export PATH "$HOME/.airflow-mwaa/bin:$PATH" ;;
    esac
}
