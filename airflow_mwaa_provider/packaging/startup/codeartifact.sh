# SPDX-License-Identifier: Apache-2.0
# pip uses a CodeArtifact repository. No token is in a variable or a file: MWAA writes exported variables to files in
# clear text. If the repository wants a password, pip runs the program `keyring`; this one gets a token from CodeArtifact.
airflow_mwaa_codeartifact() {
    local IFS=$' \t\n' airflow_mwaa_variable=$1 airflow_mwaa_domain=@domain@ airflow_mwaa_owner=@domain_owner@ || return
    local airflow_mwaa_repository=@repository@ airflow_mwaa_region=@region@ airflow_mwaa_python || return
    local airflow_mwaa_bin="$HOME/.airflow-mwaa/bin" airflow_mwaa_index airflow_mwaa_host airflow_mwaa_answer || return
    airflow_mwaa_region=${airflow_mwaa_region:-${AWS_REGION:-${AWS_DEFAULT_REGION-}}}
    airflow_mwaa_python=$(type -P python3) || return
    # A running pip may have the program open, so it is replaced as a whole.
    mkdir -p "$airflow_mwaa_bin" || return
    cat >|"$airflow_mwaa_bin/.codeartifact.$$" <<'AIRFLOW_MWAA_PYTHON' || return
@text@AIRFLOW_MWAA_PYTHON
    builtin printf '#!/usr/bin/env bash\nexec %q %q "$@"\n' "$airflow_mwaa_python" "$airflow_mwaa_bin/codeartifact.py" \
        >|"$airflow_mwaa_bin/.keyring.$$" && chmod 755 "$airflow_mwaa_bin/.keyring.$$" || return
    mv -f "$airflow_mwaa_bin/.codeartifact.$$" "$airflow_mwaa_bin/codeartifact.py" || return
    mv -f "$airflow_mwaa_bin/.keyring.$$" "$airflow_mwaa_bin/keyring" || return
    # The answer is the last line: a sitecustomize may print more before it.
    if airflow_mwaa_answer=$(airflow_mwaa_limited 45 "$airflow_mwaa_bin/keyring" check "$airflow_mwaa_domain" \
        "$airflow_mwaa_owner" "$airflow_mwaa_repository" "$airflow_mwaa_region") &&
        airflow_mwaa_answer=${airflow_mwaa_answer##*$'\n'} &&
        [[ $airflow_mwaa_answer =~ ^https?://aws@[^[:space:]/\;@?#]+(/[^[:space:]\;?#]*)?/simple/\ . ]]; then
        airflow_mwaa_index=${airflow_mwaa_answer%% *}
        airflow_mwaa_answer="got a token, valid until ${airflow_mwaa_answer#* }; pip requests a new one whenever it needs one"
    else
        if [[ -n $airflow_mwaa_answer ]]; then
            airflow_mwaa_say "CodeArtifact: the answer contains no address of an index. Check the proxy, and AWS_ENDPOINT_URL."
        fi
        [[ $airflow_mwaa_variable == PIP_INDEX_URL && -n $airflow_mwaa_region ]] || return
        # Without this index, pip would use PyPI, where anyone can publish a package of the same name.
        airflow_mwaa_host="$airflow_mwaa_domain-$airflow_mwaa_owner.d.codeartifact.$airflow_mwaa_region.amazonaws.com"
        airflow_mwaa_index="https://aws@$airflow_mwaa_host/pypi/$airflow_mwaa_repository/simple/"
        airflow_mwaa_answer="WARNING: got no token; pip still uses no other index, and finds no package until it gets a token"
    fi
    airflow_mwaa_host=${airflow_mwaa_index#*://aws@}
    airflow_mwaa_host="${airflow_mwaa_index%%://*}://${airflow_mwaa_host%%/*} $airflow_mwaa_domain $airflow_mwaa_owner $airflow_mwaa_region"
    airflow_mwaa_export AIRFLOW_MWAA_CODEARTIFACT \
        "${AIRFLOW_MWAA_CODEARTIFACT:+$AIRFLOW_MWAA_CODEARTIFACT;}$airflow_mwaa_host" || return
    airflow_mwaa_export PIP_KEYRING_PROVIDER subprocess && airflow_mwaa_export UV_KEYRING_PROVIDER subprocess || return
    # Nobody can type a password, should the repository want another one.
    airflow_mwaa_export PIP_NO_INPUT 1 && airflow_mwaa_on_path || return
    # A second part does not replace the repository of the first one.
    if [[ $airflow_mwaa_variable == PIP_INDEX_URL && ${airflow_mwaa_first:=$airflow_mwaa_index} == "$airflow_mwaa_index" ]]; then
        airflow_mwaa_replace_index "$airflow_mwaa_index" || return
    else
        airflow_mwaa_added="${airflow_mwaa_added:+$airflow_mwaa_added }$airflow_mwaa_index"
        airflow_mwaa_export PIP_EXTRA_INDEX_URL \
            "${PIP_EXTRA_INDEX_URL:+$PIP_EXTRA_INDEX_URL }$airflow_mwaa_index" || return
        airflow_mwaa_export UV_INDEX "${UV_INDEX:+$UV_INDEX }$airflow_mwaa_index" || return
    fi
    airflow_mwaa_say "CodeArtifact repository $airflow_mwaa_repository of domain $airflow_mwaa_domain: $airflow_mwaa_answer"
}

# airflow_mwaa_replace_index ADDRESS: make pip and uv use only this index and those that earlier parts have added.
airflow_mwaa_replace_index() {
    local airflow_mwaa_name || return
    for airflow_mwaa_name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL; do
        case ${!airflow_mwaa_name-} in
            "" | "$1" | "${airflow_mwaa_added-}") ;;
            *) airflow_mwaa_say "WARNING: $airflow_mwaa_name was set before: pip and uv use CodeArtifact instead" ;;
        esac
        unset -v "$airflow_mwaa_name" || return
    done
    airflow_mwaa_export PIP_INDEX_URL "$1" && airflow_mwaa_export UV_DEFAULT_INDEX "$1" || return
    if [[ -n ${airflow_mwaa_added-} ]]; then
        airflow_mwaa_export PIP_EXTRA_INDEX_URL "$airflow_mwaa_added" || return
        airflow_mwaa_export UV_INDEX "$airflow_mwaa_added" || return
    fi
}

# airflow_mwaa_without_codeartifact VARIABLE: what pip may use if the repository could not be set.
airflow_mwaa_without_codeartifact() {
    if [[ $1 == PIP_INDEX_URL ]]; then
        airflow_mwaa_export PIP_NO_INDEX 1 || :
        airflow_mwaa_export UV_OFFLINE 1 || :
        airflow_mwaa_say "WARNING: the CodeArtifact repository could not be set, so pip and uv use no index at all" \
            "(PIP_NO_INDEX, UV_OFFLINE); the container starts without what they would install"
    else
        airflow_mwaa_say "WARNING: pip works without CodeArtifact, and the container starts without packages that only CodeArtifact has"
    fi
}
airflow_mwaa_codeartifact @variable@ || airflow_mwaa_without_codeartifact @variable@
export -n airflow_mwaa_first airflow_mwaa_added
