# SPDX-License-Identifier: Apache-2.0
"""One list of words decides which names are those of secrets, for messages and for startup scripts."""

from __future__ import annotations

import itertools
import re

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.masking import masked_line
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.startup.runtime import runtime_script
from airflow_mwaa_provider.packaging.startup.script import Component

SECRETS = (
    *("token", "tokens", "TOKEN_2", "my-secret", "clientSecret", "secretary", "DB_PASSWD", "password", "passphrase"),
    *("AWSAccessKeyId", "X-Amz-Signature", "X-JFrog-Art-Api", "apikey", "api_keys", "ssh-key", "masterkey", "keyring"),
    *("credential", "credentials", "jwt", "auth", "authorization", "pass", "pw", "pwd", "sig"),
)
TORN_APART = (
    *("TOKENv2", "APIKEYv2", "PASSwd", "my_KEYs", "KEYid", "accessKEYid", "MYTOKENabc", "GITHUB_TOKENghp"),
    *("keywordpassword", "monkeytoken", "APIv2", "PWDs", "PASSPHRASEs", "SIGNATUREs"),
)
SURELY_HARMLESS = ("monkey", "keyword", "keyboard", "tokenizer", "tokenise")
OTHERS = ("author", "bypass", "design", "compass", "apish", "x")


@pytest.mark.parametrize("name", [*SECRETS, *TORN_APART])
def test_the_value_of_a_secret_is_neither_shown_nor_written_into_a_script(name: str) -> None:
    assert masked_line(f"pip {name} = hunter2") == f"pip {name} = ****"
    assert masked_line(f"x: 1 {name}:hunter2 y") == f"x: 1 {name}:****"
    for line in (f"r @ https://host/r.whl?{name}=hunter2", f'r --config-settings="{name}=hunter2"'):
        with pytest.raises(MwaaInputError, match="a user, password or token"):
            runtime_script(requirements={Component.WORKER: line})


@pytest.mark.parametrize("name", [*OTHERS, *SURELY_HARMLESS])
def test_other_names_are_no_secrets(name: str) -> None:
    hidden = "****" if name in SURELY_HARMLESS else "hunter2"
    assert masked_line(f"pip {name} = hunter2") == f"pip {name} = {hidden}", "a message shows too little, if in doubt"
    line = f"r @ https://host/r.whl?{name}=hunter2"
    assert "hunter2" in runtime_script(requirements={Component.WORKER: line})


def test_no_value_is_shown_whose_name_has_part_of_a_word_for_a_secret() -> None:
    always = re.compile(r"([\w.-]*(?:secret|passw|token|key|credential)[\w.-]*\s*[=:]+\s*)(\S.*)", re.IGNORECASE)
    cases = (str.lower, str.upper, str.title, lambda part: part[:-1].upper() + part[-1])
    around = ("", "X", "v2", "my_", "monkey", "keyword", "ghp", "Id", "s", "api-", "tokenizer")
    words = ("secret", "passw", "token", "key", "credential")
    for before, word, case, after in itertools.product(around, words, cases, around):
        for sign in ("=", " = ", "==", ": "):
            line = f"export {before}{case(word)}{after}{sign}abc123xyz"
            assert always.search(line)
            assert masked_line(line) == f"{line.removesuffix('abc123xyz')}****"


@pytest.mark.parametrize("name", [*SECRETS, *TORN_APART, *SURELY_HARMLESS])
def test_no_problem_of_a_line_repeats_what_is_masked(name: str) -> None:
    for line in (f"export {name}=abc123xyz", f"{name} = abc123xyz", f"{name}=abc123xyz", f"'{name}=abc123xyz'"):
        [problem] = check_requirements(f"{line}\n", "3.3.1").problems
        assert "abc123xyz" not in str(problem)
        assert "****" in str(problem)


@pytest.mark.parametrize(
    "line",
    [
        *("keyring = 25.6.0", "keyring==25.6.0", "tokenizers==0.15", "google-api-core==1.0", "google-api-core = 2.1"),
        *("google-api-core==2", "google-api-core==2.*", "google-auth==2.1; python_version<'3", "PyJWT==2"),
    ],
)
def test_a_version_is_no_secret(line: str) -> None:
    assert masked_line(line) == line


def test_what_follows_a_version_may_be_a_secret() -> None:
    assert masked_line("secret=1.0 token=hunter2") == "secret=****"
    assert masked_line("pass==1.0 hunter2") == "pass==****"
    assert masked_line("api==1.0; token=hunter2") == "api==1.0; token=****"
