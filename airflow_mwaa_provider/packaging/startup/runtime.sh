# SPDX-License-Identifier: Apache-2.0
# Packages of the operating system and of Python, by container.
# airflow_mwaa_packages COMPONENT NAME...
airflow_mwaa_packages() {
    local IFS=$' \t\n' component=$1 began=$SECONDS
    local -a manager=(yum)
    shift
    airflow_mwaa_is_in "$component" || return 0
    if ! command -v yum >/dev/null; then
        airflow_mwaa_say "WARNING: $*: not installed, because there is no yum here"
        return 0
    fi
    if ((EUID != 0)); then manager=(sudo -n yum); fi
    # Without a route each mirror hangs: a few seconds, and once, are enough to know.
    if airflow_mwaa_limited 120 "${manager[@]}" --assumeyes --quiet --setopt=timeout=10 --setopt=retries=1 install "$@"; then
        airflow_mwaa_say "$*: installed in $((SECONDS - began)) s"
    else
        airflow_mwaa_say "WARNING: $*: not installed, and the container starts without it"
    fi
}

# airflow_mwaa_requirements COMPONENT LINE...: nothing that the image has is replaced by another version.
airflow_mwaa_requirements() {
    local IFS=$' \t\n' component=$1 began=$SECONDS folder
    shift
    airflow_mwaa_is_in "$component" || return 0
    folder=$(mktemp -d) || return
    builtin printf '%s\n' "$@" >|"$folder/requirements.txt"
    if airflow_mwaa_limited 60 python3 -m pip list --disable-pip-version-check --format=freeze >|"$folder/installed.txt" &&
        airflow_mwaa_limited 200 python3 -m pip install --disable-pip-version-check --no-input --quiet \
            --requirement "$folder/requirements.txt" --constraint "$folder/installed.txt"; then
        airflow_mwaa_say "$# lines of requirements for the $component: installed in $((SECONDS - began)) s"
    else
        airflow_mwaa_say "WARNING: requirements for the $component: not installed, and the container starts without them"
    fi
    rm -rf "$folder"
}

@text@
