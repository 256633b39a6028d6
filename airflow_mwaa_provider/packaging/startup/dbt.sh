# SPDX-License-Identifier: Apache-2.0
# dbt in its own virtual environment, apart from Airflow's pins; created once in a container's life.
# airflow_mwaa_install_dbt FOLDER PACKAGE...
airflow_mwaa_install_dbt() {
    mkdir -p "${1%/*}" && rm -rf "$1" || return
    airflow_mwaa_limited 60 python3 -m venv "$1" || return
    # Settings for Airflow's own packages would fail here, or install dbt elsewhere. Where a variable can switch a setting
    # off, it overrides pip.conf.
    airflow_mwaa_limited 220 env -u PIP_BUILD_CONSTRAINT -u PIP_EDITABLE -u PIP_PREFIX -u PIP_PYTHON -u PIP_REQUIREMENT \
        -u PIP_ROOT -u PIP_TARGET -u PYTHONHOME -u PYTHONPATH \
        PIP_CONSTRAINT=/dev/null PIP_DRY_RUN=0 PIP_NO_DEPS=0 PIP_REQUIRE_HASHES=0 PIP_USER=0 \
        "$1/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --no-input --quiet "${@:2}" || return
    # It imports all of dbt, but does not contact PyPI, as --version does.
    airflow_mwaa_limited 60 "$1/bin/dbt" --help >/dev/null || return
    builtin printf '%s' "${*:2}" >|"$1/.installed"
}

airflow_mwaa_dbt() {
    local IFS=$' \t\n' airflow_mwaa_venv="$HOME/python3-virtualenv/dbt-env" airflow_mwaa_began airflow_mwaa_s || return
    local -a airflow_mwaa_packages=(@packages@) airflow_mwaa_components=(@components@) || return
    airflow_mwaa_now airflow_mwaa_began
    if ! airflow_mwaa_is_in "${airflow_mwaa_components[@]}"; then
        airflow_mwaa_say "dbt is not for this container (${MWAA_AIRFLOW_COMPONENT-})"
        return 0
    fi
    # If the image's Python has changed, the environment has lost its own.
    if [[ ! -e $airflow_mwaa_venv/.installed || $(<"$airflow_mwaa_venv/.installed") != "${airflow_mwaa_packages[*]}" ]] ||
        ! "$airflow_mwaa_venv/bin/python" -c '' </dev/null; then
        if ! airflow_mwaa_install_dbt "$airflow_mwaa_venv" "${airflow_mwaa_packages[@]}"; then
            rm -rf "$airflow_mwaa_venv"
            return 1
        fi
        airflow_mwaa_now airflow_mwaa_s
        airflow_mwaa_s=$((airflow_mwaa_s - airflow_mwaa_began))
        airflow_mwaa_say "${airflow_mwaa_packages[*]}: installed into $airflow_mwaa_venv in $airflow_mwaa_s s"
        if ((airflow_mwaa_s > 120)); then
            airflow_mwaa_say "WARNING: this is slow, and MWAA ends the script after 5 minutes. Put the wheels into plugins.zip," \
                "and export PIP_NO_INDEX=1 and PIP_FIND_LINKS before this part"
        fi
    fi
    # Only dbt is on PATH: the environment's python3 and pip would replace Airflow's.
    mkdir -p "$HOME/.airflow-mwaa/bin" && rm -rf "$HOME/.airflow-mwaa/bin/dbt" &&
        ln -s "$airflow_mwaa_venv/bin/dbt" "$HOME/.airflow-mwaa/bin/dbt" || return
    airflow_mwaa_export DBT_VENV "$airflow_mwaa_venv" && airflow_mwaa_on_path
}
airflow_mwaa_dbt || airflow_mwaa_say "WARNING: dbt could not be installed, and the container starts without it"
