# SPDX-License-Identifier: Apache-2.0
# Sourced by bash in each container of MWAA. It changes no option of the shell, and whatever fails is one line in the
# log: the container starts all the same. What all parts share comes first; a second part defines the same again.

# All parts together take 4 minutes at most. MWAA ends a script after 295 seconds, in which other lines come first.
: "${airflow_mwaa_deadline:=$((SECONDS < 45 ? SECONDS + 240 : 285))}"

airflow_mwaa_say() {
    builtin printf 'airflow-mwaa: %s\n' "$*" || :
}

# airflow_mwaa_is_in COMPONENT...: whether this container is one of these. A hybrid one is worker and scheduler.
airflow_mwaa_is_in() {
    local name
    for name in "$@"; do
        case ${MWAA_AIRFLOW_COMPONENT-}:$name in
            "$name:$name" | hybrid:worker | hybrid:scheduler) return 0 ;;
        esac
    done
    return 1
}

# airflow_mwaa_limited SECONDS COMMAND...: run a command for so long at most, and for a minute on a web server, which may
# be private: there every connection hangs.
airflow_mwaa_limited() {
    local limit=$1 left=$((airflow_mwaa_deadline - SECONDS))
    shift
    if airflow_mwaa_is_in webserver && ((left > 60)); then left=60; fi
    if ((limit > left)); then limit=$left; fi
    if ((limit <= 0)); then
        airflow_mwaa_say "no time is left for: $1" >&2
        return 124
    fi
    if command -v timeout >/dev/null; then
        timeout -k 5 "$limit" "$@" </dev/null
    else
        "$@" </dev/null
    fi
}

# airflow_mwaa_export NAME VALUE: at an assignment to a variable that is read-only bash would leave the whole part.
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
