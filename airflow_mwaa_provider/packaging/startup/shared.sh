# SPDX-License-Identifier: Apache-2.0
# Sourced by bash in each container of MWAA. It changes no option of the shell, and whatever fails is one line in the
# log: the container starts all the same. What all parts share comes first; a second part defines the same again.
# Lines of the user's come before: a name of ours begins with airflow_mwaa_, because an assignment to a variable that is
# read-only leaves the whole part, programs that a function runs itself are looked up by type -P, which knows no aliases,
# and `set -a` exports what is not taken back.

# airflow_mwaa_now NAME: put the time into a variable, in seconds; a script may change SECONDS.
airflow_mwaa_now() {
    builtin printf -v "$1" '%(%s)T' -1
}

# All parts together take 4 minutes at most. MWAA ends a script after 295 seconds, in which other lines come first.
if [[ -z ${airflow_mwaa_deadline-} ]]; then
    builtin printf -v airflow_mwaa_deadline '%(%s)T' -2 # when this shell was started
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

# airflow_mwaa_is_in COMPONENT...: whether this container is one of these. A hybrid one is worker and scheduler.
airflow_mwaa_is_in() {
    local airflow_mwaa_name || return
    for airflow_mwaa_name in "$@"; do
        case ${MWAA_AIRFLOW_COMPONENT-}:$airflow_mwaa_name in
            "$airflow_mwaa_name:$airflow_mwaa_name" | hybrid:worker | hybrid:scheduler) return 0 ;;
        esac
    done
    return 1
}

# airflow_mwaa_limited [--as-root] SECONDS COMMAND...: run a command for so long at most, and for a minute on a web server, which may
# be private: there every connection hangs.
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

# airflow_mwaa_export NAME VALUE: as an assignment, but one to a read-only variable fails alone.
airflow_mwaa_export() {
    unset -v "$1" && export "$1=$2"
}

# Put what the parts install first on PATH, once.
airflow_mwaa_on_path() {
    case :$PATH: in
        *":$HOME/.airflow-mwaa/bin:"*) ;;
        *) airflow_mwaa_export PATH "$HOME/.airflow-mwaa/bin:$PATH" ;;
    esac
}
