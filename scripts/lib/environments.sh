# SPDX-License-Identifier: Apache-2.0
# Virtual environments per Airflow version, kept in .envs/ between runs. Source after common.sh.

# The Python of MWAA's image of an Airflow version.
image_python() {
    case "$1" in
        2.[0-9].* | 2.10.*) echo 3.11 ;;
        *) echo 3.12 ;;
    esac
}

# find_python 3.12: path of an interpreter of that version that really runs. A pyenv shim may not.
find_python() {
    local want="$1" candidate
    while IFS= read -r candidate; do
        [ -n "$candidate" ] && [ -x "$candidate" ] || continue
        if [ "$("$candidate" -c 'import sys, ssl, sqlite3, venv; print("%d.%d" % sys.version_info[:2])' \
            2>/dev/null </dev/null)" = "$want" ]; then
            "$candidate" -c 'import sys; print(sys.executable)' </dev/null
            return 0
        fi
    done < <(
        type -aP "python$want" python3 2>/dev/null || true
        ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$want"*/bin/python3 2>/dev/null || true
        uv python find "$want" 2>/dev/null </dev/null || true
    )
    return 1
}

# constraints_for VERSION PYTHON: path of the constraints file, from --constraints or the environment
# variable, then from ../shared, then from Airflow's published URL.
constraints_for() {
    local version="$1" python="$2" given="${AIRFLOW_MWAA_CONSTRAINTS:-}" file url why
    if [ -n "$given" ]; then
        [ -d "$given" ] && given="$given/$version.txt"
        [ -f "$given" ] || die "no constraints for Airflow $version: $given is not there"
        echo "$given"
        return
    fi
    if [ -f "$REPO/../shared/constraints/$version.txt" ]; then
        (cd "$REPO/../shared/constraints" && echo "$PWD/$version.txt")
        return
    fi
    file="$ENVS/constraints/$version-$python.txt"
    if [ ! -f "$file" ]; then
        mkdir -p "$ENVS/constraints"
        url="https://raw.githubusercontent.com/apache/airflow/constraints-$version/constraints-$python.txt"
        why="$("$BOOTSTRAP_PYTHON" "$LIB/project.py" download "$url" "$file")" ||
            die "no constraints for Airflow $version: $url: $why; give them with --constraints"
    fi
    echo "$file"
}

# known_versions: every Airflow version that there is a constraints file for, oldest first.
known_versions() {
    local folder="${AIRFLOW_MWAA_CONSTRAINTS:-}" found
    if [ -n "$folder" ] && [ ! -d "$folder" ]; then
        die "--full needs a folder of constraints files, and $folder is not one"
    fi
    [ -n "$folder" ] || folder="$REPO/../shared/constraints"
    found="$(ls "$folder" 2>/dev/null | sed -n 's/^\([0-9][0-9.]*\)\.txt$/\1/p' | sort -V)"
    [ -n "$found" ] || found="$(printf '%s\n' 2.8.1 2.9.2 2.10.1 2.10.3 2.11.0 2.11.2 3.0.6 3.2.1 3.3.1)"
    echo "$found"
}

# ensure_env VERSION [EXTRA]: print the folder of a virtual environment that holds this project with
# [EXTRA] (default: dev) and that Airflow, at the constraints' pins. Made on first use, then reused.
# Compiled at once: where the shell says that no bytecode is to be written, every process of an Airflow would
# compile what it imports, two thirds of the time of its start.
# With SHOW_PROGRESS=1 the installer's own lines are shown.
ensure_env() {
    local version="$1" extra="${2:-dev}" want python constraints filtered dropped key folder amazon log note=""
    local -a requirements
    bootstrap_uv
    want="$(image_python "$version")"
    if ! python="$(find_python "$want")"; then
        python="$(python3 -c 'import sys; print(sys.executable)')"
        note=" (the image has $want, which this machine has not)"
        want="$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    fi
    constraints="$(constraints_for "$version" "$want")" || exit 1
    key="$("$BOOTSTRAP_PYTHON" "$LIB/project.py" key "$version" "$extra" "$python" "$constraints")" || exit 1
    folder="$ENVS/airflow-$version-$extra-$key"
    say "Airflow $version [$extra]: Python $want$note, pins of $(basename "$constraints")"
    if [ ! -e "$folder/.complete" ]; then
        lock "airflow-$version-$extra"
        if [ ! -e "$folder/.complete" ]; then
            filtered="$ENVS/constraints/used-$version-$extra-$key.txt"
            mkdir -p "$ENVS/constraints" "$ENVS/logs"
            dropped="$("$BOOTSTRAP_PYTHON" "$LIB/project.py" filter "$constraints" "$filtered" "$extra")" || exit 1
            [ -z "$dropped" ] || say "  pins of development tools that do not fit ours, left out: $dropped"
            amazon="$(sed -n 's/^apache-airflow-providers-amazon==\([^ ;#]*\).*/\1/p' "$constraints")"
            requirements=(
                -e "$REPO[$extra]" "apache-airflow==$version"
                "apache-airflow-providers-amazon${amazon:+==$amazon}"
            )
            case "$version" in 2.*) ;; *) requirements+=(apache-airflow-providers-fab) ;; esac
            log="$ENVS/logs/airflow-$version-$extra.log"
            rm -rf "$folder"
            say "  installing into .envs/$(basename "$folder") ..."
            local began=$SECONDS
            if ! run_quietly "$log" uv venv --python "$python" "$folder"; then
                unlock "airflow-$version-$extra"
                die "no virtual environment could be made for Airflow $version"
            fi
            if [ "${SHOW_PROGRESS:-}" = 1 ] && [ -t 2 ]; then
                uv pip install --compile-bytecode --python "$folder/bin/python" -c "$filtered" \
                    "${requirements[@]}" </dev/null >&2
            elif [ "${SHOW_PROGRESS:-}" = 1 ]; then # uv's steps, without the list of 200 packages at the end
                uv pip install --compile-bytecode --python "$folder/bin/python" -c "$filtered" \
                    "${requirements[@]}" </dev/null 2>&1 | awk '!/^ [+~-] /{ print "  " $0; fflush() }' >&2
            else
                run_quietly "$log" uv pip install --compile-bytecode --python "$folder/bin/python" -c "$filtered" \
                    "${requirements[@]}"
            fi || {
                unlock "airflow-$version-$extra"
                die "the install for Airflow $version failed; see the lines above"
            }
            say "  installed in $((SECONDS - began)) s"
            touch "$folder/.complete"
        fi
        unlock "airflow-$version-$extra"
    fi
    touch "$folder/.used"
    forget_old_envs
    echo "$folder"
}

# ensure_docs_env: what builds the site, without Airflow.
ensure_docs_env() {
    local key folder
    bootstrap_uv
    key="$("$BOOTSTRAP_PYTHON" "$LIB/project.py" key docs docs "$BOOTSTRAP_PYTHON" /dev/null)" || exit 1
    folder="$ENVS/docs-$key"
    if [ ! -e "$folder/.complete" ]; then
        lock docs
        if [ ! -e "$folder/.complete" ]; then
            mkdir -p "$ENVS/logs"
            rm -rf "$folder"
            "$BOOTSTRAP_PYTHON" "$LIB/project.py" extra docs >"$ENVS/docs-requirements.txt"
            if ! run_quietly "$ENVS/logs/docs.log" uv venv --python python3 "$folder" ||
                ! run_quietly "$ENVS/logs/docs.log" uv pip install --python "$folder/bin/python" \
                    -r "$ENVS/docs-requirements.txt"; then
                unlock docs
                die "the install for the docs failed; see the lines above"
            fi
            touch "$folder/.complete"
        fi
        unlock docs
    fi
    touch "$folder/.used"
    echo "$folder"
}

# An environment whose key is out of date is never used again; remove it a week after its last use.
forget_old_envs() {
    local mark
    find "$ENVS" -maxdepth 2 -name .used -mtime +7 2>/dev/null | while IFS= read -r mark; do
        rm -rf "$(dirname "$mark")"
    done
}
