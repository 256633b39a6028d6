# SPDX-License-Identifier: Apache-2.0
# Packages of the operating system and of Python, by container.
# airflow_mwaa_packages COMPONENT NAME...: fails if none is installed at the end; the caller reports it.
airflow_mwaa_packages() {
    local IFS=$' \t\n' airflow_mwaa_began airflow_mwaa_ended airflow_mwaa_rpm airflow_mwaa_status=0 || return
    local airflow_mwaa_name airflow_mwaa_found='' airflow_mwaa_missing='' || return
    airflow_mwaa_is_in "$1" || return 0
    shift
    airflow_mwaa_now airflow_mwaa_began
    if ! type -P yum >/dev/null; then
        airflow_mwaa_say "yum was not found"
        return 1
    fi
    # Without a route, each mirror hangs: one try of a few seconds is enough to know. An unknown name is skipped.
    airflow_mwaa_limited --as-root 120 yum --assumeyes --quiet --setopt=timeout=10 --setopt=retries=1 \
        --setopt=strict=0 install "$@" || airflow_mwaa_status=$?
    if airflow_mwaa_rpm=$(type -P rpm); then
        for airflow_mwaa_name in "$@"; do
            if "$airflow_mwaa_rpm" -q "$airflow_mwaa_name" || "$airflow_mwaa_rpm" -q --whatprovides "$airflow_mwaa_name"; then
                airflow_mwaa_found+=" $airflow_mwaa_name"
            else
                airflow_mwaa_missing+=" $airflow_mwaa_name"
            fi
        done >/dev/null
        [[ -n $airflow_mwaa_found ]] || return 1
    else
        ((airflow_mwaa_status == 0)) || return
        airflow_mwaa_found=" $*"
    fi
    airflow_mwaa_now airflow_mwaa_ended
    airflow_mwaa_say "${airflow_mwaa_found# }: installed in $((airflow_mwaa_ended - airflow_mwaa_began)) s"
    if [[ -n $airflow_mwaa_missing ]]; then
        airflow_mwaa_say "WARNING: ${airflow_mwaa_missing# }: not installed, and the container starts without it"
    fi
}

# airflow_mwaa_requirements COMPONENT LINE...: nothing in the image is replaced by another version.
airflow_mwaa_requirements() {
    local IFS=$' \t\n' airflow_mwaa_began airflow_mwaa_ended airflow_mwaa_folder airflow_mwaa_status=0 || return
    airflow_mwaa_is_in "$1" || return 0
    airflow_mwaa_now airflow_mwaa_began
    airflow_mwaa_folder=$(mktemp -d) || return
    builtin printf '%s\n' "${@:2}" >|"$airflow_mwaa_folder/requirements.txt" &&
        airflow_mwaa_limited 60 python3 -m pip list --disable-pip-version-check --format=freeze \
            >|"$airflow_mwaa_folder/installed.txt" &&
        airflow_mwaa_limited 200 python3 -m pip install --disable-pip-version-check --no-input --quiet \
            --requirement "$airflow_mwaa_folder/requirements.txt" \
            --constraint "$airflow_mwaa_folder/installed.txt" || airflow_mwaa_status=$?
    rm -rf "$airflow_mwaa_folder"
    ((airflow_mwaa_status == 0)) || return "$airflow_mwaa_status"
    airflow_mwaa_now airflow_mwaa_ended
    airflow_mwaa_say "$(($# - 1)) lines of requirements for the $1: installed in $((airflow_mwaa_ended - airflow_mwaa_began)) s"
}

@text@
