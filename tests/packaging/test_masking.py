# SPDX-License-Identifier: Apache-2.0
"""One list of words decides which names are those of secrets, for messages and for startup scripts."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.masking import masked_line
from airflow_mwaa_provider.packaging.startup.runtime import runtime_script
from airflow_mwaa_provider.packaging.startup.script import Component

SECRETS = (
    *("token", "tokens", "TOKEN_2", "my-secret", "clientSecret", "secretary", "DB_PASSWD", "password", "passphrase"),
    *("AWSAccessKeyId", "X-Amz-Signature", "X-JFrog-Art-Api", "apikey", "api_keys", "ssh-key", "masterkey", "keyring"),
    *("credential", "credentials", "jwt", "auth", "authorization", "pass", "pw", "pwd", "sig"),
)
OTHERS = (
    "monkey",
    "keyword",
    "keyboard",
    "tokenizer",
    "tokenise",
    "author",
    "bypass",
    "design",
    "compass",
    "apish",
    "x",
)


@pytest.mark.parametrize("name", SECRETS)
def test_the_value_of_a_secret_is_neither_shown_nor_written_into_a_script(name: str) -> None:
    assert masked_line(f"pip {name} = hunter2") == f"pip {name} = ****"
    assert masked_line(f"x: 1 {name}:hunter2 y") == f"x: 1 {name}:****"
    for line in (f"r @ https://host/r.whl?{name}=hunter2", f'r --config-settings="{name}=hunter2"'):
        with pytest.raises(MwaaInputError, match="a user, password or token"):
            runtime_script(requirements={Component.WORKER: line})


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_no_secrets(name: str) -> None:
    assert masked_line(f"pip {name} = hunter2") == f"pip {name} = hunter2"
    line = f"r @ https://host/r.whl?{name}=hunter2"
    assert "hunter2" in runtime_script(requirements={Component.WORKER: line})


def test_a_version_is_no_secret() -> None:
    assert masked_line("keyring = 25.6.0") == "keyring = 25.6.0"
    assert masked_line("secret=1.0 token=hunter2") == "secret=****"
