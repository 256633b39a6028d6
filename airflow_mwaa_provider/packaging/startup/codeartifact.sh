# SPDX-License-Identifier: Apache-2.0
# pip reads a CodeArtifact repository. No token is in a variable or a file: MWAA writes what a script exports to files in
# clear. Where the repository asks for a password, pip asks the program `keyring`, and ours asks CodeArtifact.
airflow_mwaa_codeartifact() {
    local variable=$1 IFS=$' \t\n'
    local domain=@domain@ owner=@domain_owner@ repository=@repository@ region=@region@
    local folder="$HOME/.airflow-mwaa/bin" python answer index host name
    region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION-}}}
    python=$(command -v python3) || return
    mkdir -p "$folder" || return
    cat >|"$folder/codeartifact.py" <<'AIRFLOW_MWAA_PYTHON' || return
@text@AIRFLOW_MWAA_PYTHON
    builtin printf '#!/usr/bin/env bash\nexec %q %q "$@"\n' "$python" "$folder/codeartifact.py" >|"$folder/keyring" || return
    chmod 755 "$folder/keyring" || return
    if answer=$(airflow_mwaa_limited 45 "$folder/keyring" check "$domain" "$owner" "$repository" "$region"); then
        index=${answer%% *}
        answer="a token was given, valid until ${answer#* }; pip asks for a new one whenever it needs one"
    elif [[ $variable == PIP_INDEX_URL && -n $region ]]; then
        # Without an index of its own pip would ask PyPI, where anybody can put a package of the same name.
        index="https://aws@$domain-$owner.d.codeartifact.$region.amazonaws.com/pypi/$repository/simple/"
        answer="WARNING: no token was given; pip asks nothing else all the same, and finds no package until it gets a token"
    else
        return 1
    fi
    host=${index#*://aws@}
    host=${host%%/*}
    airflow_mwaa_export AIRFLOW_MWAA_CODEARTIFACT \
        "${AIRFLOW_MWAA_CODEARTIFACT:+$AIRFLOW_MWAA_CODEARTIFACT;}$host $domain $owner $region" || return
    airflow_mwaa_export PIP_KEYRING_PROVIDER subprocess && airflow_mwaa_export UV_KEYRING_PROVIDER subprocess || return
    # There is nobody to type a password, should the repository want another one.
    airflow_mwaa_export PIP_NO_INPUT 1 && airflow_mwaa_on_path || return
    # A second part does not take the place of the first one's repository.
    if [[ $variable == PIP_INDEX_URL && ${airflow_mwaa_index:=$index} == "$index" ]]; then
        for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL; do
            case ${!name-} in
                "" | "$index" | "${airflow_mwaa_added-}") ;;
                *) airflow_mwaa_say "WARNING: $name was set before: pip and uv ask CodeArtifact instead" ;;
            esac
            unset -v "$name" || return
        done
        airflow_mwaa_export PIP_INDEX_URL "$index" && airflow_mwaa_export UV_DEFAULT_INDEX "$index" || return
        # What earlier parts added stays: these are repositories of CodeArtifact, too.
        if [[ -n ${airflow_mwaa_added-} ]]; then
            airflow_mwaa_export PIP_EXTRA_INDEX_URL "$airflow_mwaa_added" || return
            airflow_mwaa_export UV_INDEX "$airflow_mwaa_added" || return
        fi
    else
        airflow_mwaa_added="${airflow_mwaa_added:+$airflow_mwaa_added }$index"
        airflow_mwaa_export PIP_EXTRA_INDEX_URL "${PIP_EXTRA_INDEX_URL:+$PIP_EXTRA_INDEX_URL }$index" || return
        airflow_mwaa_export UV_INDEX "${UV_INDEX:+$UV_INDEX }$index" || return
    fi
    airflow_mwaa_say "CodeArtifact repository $repository of domain $domain: $answer"
}

# airflow_mwaa_without_codeartifact VARIABLE: what else may find packages, where nothing could be set.
airflow_mwaa_without_codeartifact() {
    if [[ $1 == PIP_INDEX_URL ]]; then
        airflow_mwaa_export PIP_NO_INDEX 1 || :
        airflow_mwaa_export UV_OFFLINE 1 || :
        airflow_mwaa_say "WARNING: the CodeArtifact repository could not be set, so that pip and uv ask no index at all" \
            "(PIP_NO_INDEX, UV_OFFLINE); the container starts without what they would install"
    else
        airflow_mwaa_say "WARNING: pip goes without CodeArtifact, and the container starts without what only CodeArtifact has"
    fi
}
airflow_mwaa_codeartifact @variable@ || airflow_mwaa_without_codeartifact @variable@
