# SPDX-License-Identifier: Apache-2.0
# pip reads a CodeArtifact repository. No token is in a variable or a file: MWAA writes what a script exports to files in
# clear. Where the repository asks for a password, pip asks the program `keyring`, and ours asks CodeArtifact.
airflow_mwaa_codeartifact() {
    local IFS=$' \t\n' domain=@domain@ owner=@domain_owner@ repository=@repository@ region=@region@ variable=@variable@
    local folder="$HOME/.airflow-mwaa/bin" python answer index host
    region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION-}}}
    python=$(command -v python3) || return
    mkdir -p "$folder" || return
    cat >|"$folder/codeartifact.py" <<'AIRFLOW_MWAA_PYTHON' || return
@text@AIRFLOW_MWAA_PYTHON
    builtin printf '#!/usr/bin/env bash\nexec %q %q "$@"\n' "$python" "$folder/codeartifact.py" >|"$folder/keyring" || return
    chmod 755 "$folder/keyring" || return
    answer=$(airflow_mwaa_limited 45 "$folder/keyring" check "$domain" "$owner" "$repository" "$region") || return
    index=${answer%% *}
    host=${index#*://aws@}
    host=${host%%/*}
    export AIRFLOW_MWAA_CODEARTIFACT="${AIRFLOW_MWAA_CODEARTIFACT:+$AIRFLOW_MWAA_CODEARTIFACT;}$host $domain $owner $region"
    # A second part does not take the place of the first one's repository.
    if [[ $variable == PIP_INDEX_URL && ${airflow_mwaa_index:=$index} == "$index" ]]; then
        if [[ ${PIP_INDEX_URL:-$index} != "$index" ]]; then
            airflow_mwaa_say "WARNING: PIP_INDEX_URL was set before: pip asks CodeArtifact instead"
        fi
        export PIP_INDEX_URL=$index UV_DEFAULT_INDEX=$index
    else
        export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:+$PIP_EXTRA_INDEX_URL }$index"
        export UV_INDEX="${UV_INDEX:+$UV_INDEX }$index"
    fi
    # There is nobody to type a password, should the repository want another one.
    export PIP_KEYRING_PROVIDER=subprocess UV_KEYRING_PROVIDER=subprocess PIP_NO_INPUT=1
    airflow_mwaa_on_path
    airflow_mwaa_say "CodeArtifact repository $repository of domain $domain: a token was given, valid until ${answer#* }; pip asks" \
        "for a new one whenever it needs one"
}
airflow_mwaa_codeartifact ||
    airflow_mwaa_say "WARNING: pip goes without CodeArtifact, and the container starts without what only CodeArtifact has"
