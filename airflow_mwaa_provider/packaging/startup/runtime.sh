# SPDX-License-Identifier: Apache-2.0
# Packages of the operating system and of Python, by container.
# airflow_mwaa_packages COMPONENT NAME...: who calls it says what was not installed.
airflow_mwaa_packages() {
    local IFS=$' \t\n' component=$1 began=$SECONDS
    local -a manager=(yum)
    shift
    airflow_mwaa_is_in "$component" || return 0
    if ! command -v yum >/dev/null; then
        airflow_mwaa_say "there is no yum here"
        return 1
    fi
    if ((EUID != 0)); then manager=(sudo -n yum); fi
    # Without a route each mirror hangs: a few seconds, and once, are enough to know.
    airflow_mwaa_limited 120 "${manager[@]}" --assumeyes --quiet --setopt=timeout=10 --setopt=retries=1 install "$@" || return
    airflow_mwaa_say "$*: installed in $((SECONDS - began)) s"
}

# airflow_mwaa_requirements COMPONENT LINE...: nothing that the image has is replaced by another version.
airflow_mwaa_requirements() {
    local IFS=$' \t\n' component=$1 began=$SECONDS folder status=0
    shift
    airflow_mwaa_is_in "$component" || return 0
    folder=$(mktemp -d) || return
    builtin printf '%s\n' "$@" >|"$folder/requirements.txt" &&
        airflow_mwaa_limited 60 python3 -m pip list --disable-pip-version-check --format=freeze >|"$folder/installed.txt" &&
        airflow_mwaa_limited 200 python3 -m pip install --disable-pip-version-check --no-input --quiet \
            --requirement "$folder/requirements.txt" --constraint "$folder/installed.txt" || status=$?
    rm -rf "$folder"
    ((status == 0)) || return "$status"
    airflow_mwaa_say "$# lines of requirements for the $component: installed in $((SECONDS - began)) s"
}

@text@
