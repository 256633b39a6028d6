# SPDX-License-Identifier: Apache-2.0
# dbt in a virtual environment of its own, beside Airflow's pins; made once in a container's life.
airflow_mwaa_install_dbt() {
    local venv=$1
    shift
    mkdir -p "${venv%/*}" && rm -rf "$venv" || return
    airflow_mwaa_limited 60 python3 -m venv "$venv" || return
    # Settings that are meant for Airflow's own packages would fail here, or put dbt elsewhere.
    airflow_mwaa_limited 220 env -u PIP_CONSTRAINT -u PIP_PREFIX -u PIP_TARGET -u PIP_USER -u PYTHONPATH \
        "$venv/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --no-input --quiet "$@" || return
    [[ -x $venv/bin/dbt ]] || return
    builtin printf '%s' "$*" >|"$venv/.installed"
}

airflow_mwaa_dbt() {
    local IFS=$' \t\n' venv="$HOME/python3-virtualenv/dbt-env" began=$SECONDS
    local -a packages=(@packages@) components=(@components@)
    if ! airflow_mwaa_is_in "${components[@]}"; then
        airflow_mwaa_say "dbt is not for this container (${MWAA_AIRFLOW_COMPONENT-})"
        return 0
    fi
    if [[ ! -e $venv/.installed || $(<"$venv/.installed") != "${packages[*]}" ]]; then
        if ! airflow_mwaa_install_dbt "$venv" "${packages[@]}"; then
            rm -rf "$venv"
            return 1
        fi
        airflow_mwaa_say "${packages[*]}: installed into $venv in $((SECONDS - began)) s"
        if ((SECONDS - began > 120)); then
            airflow_mwaa_say "WARNING: that is slow, and MWAA ends this script after 5 minutes. Put the wheels into plugins.zip," \
                "and export PIP_NO_INDEX=1 and PIP_FIND_LINKS before this part"
        fi
    fi
    # Of its programs dbt alone is on PATH: its python3 and pip would take the place of Airflow's.
    mkdir -p "$HOME/.airflow-mwaa/bin" && ln -sf "$venv/bin/dbt" "$HOME/.airflow-mwaa/bin/dbt" || return
    airflow_mwaa_export DBT_VENV "$venv" && airflow_mwaa_on_path
}
airflow_mwaa_dbt || airflow_mwaa_say "WARNING: dbt could not be installed, and the container starts without it"
