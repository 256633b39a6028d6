# SPDX-License-Identifier: Apache-2.0
"""Renew a CodeArtifact token in Secrets Manager."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context

__all__ = ["CodeArtifactTokenOperator"]

_LEAST, _MOST = timedelta(minutes=15), timedelta(hours=12)


class CodeArtifactTokenOperator(MwaaOperator):
    """Store a new token of a CodeArtifact domain in a secret, for clients that cannot call CodeArtifact themselves.

    pip in the environment's own containers does not need it: see ``airflow-mwaa startup codeartifact``. Run this
    operator more often than its tokens expire, so that a failed run leaves a token that is still valid. A retry makes
    another token, and the previous one is valid until it expires.

    The token is stored in the secret only. It is not in the log, in XCom, or in an error.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param domain: name of the domain (templated).
    :param domain_owner: account id of its owner (templated).
    :param domain_region: AWS region of the domain (templated). The default is ``region_name``, the secret's region.
    :param secret_name: name of the secret (templated), which is created if it does not exist. A secrets backend finds
        the default as the variable ``code_artifact_token``.
    :param token_lifetime: how long the token is valid: 15 minutes to 12 hours.
    :param kms_key_id: KMS key of a secret that is created (templated). The default is the account's own key.
    :return: ``{"secret_name": …, "expires_at": …}``, the time in ISO 8601.
    """

    template_fields: Sequence[str] = (
        *MwaaOperator.template_fields, "domain", "domain_owner", "domain_region", "secret_name", "kms_key_id",
    )  # fmt: skip
    text_fields: ClassVar[Collection[str]] = (
        *MwaaOperator.text_fields, "domain", "domain_owner", "domain_region", "secret_name", "kms_key_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        domain: str,
        domain_owner: str,
        domain_region: str | None = None,
        secret_name: str = "airflow/variables/code_artifact_token",  # noqa: S107 - its name
        token_lifetime: timedelta = _MOST,
        kms_key_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.domain = domain
        self.domain_owner = domain_owner
        self.domain_region = domain_region
        self.secret_name = secret_name
        self.token_lifetime = token_lifetime
        self.kms_key_id = kms_key_id
        if not isinstance(token_lifetime, timedelta) or not _LEAST <= token_lifetime <= _MOST:
            raise MwaaInputError(f"token_lifetime={token_lifetime!r} must be a timedelta of 15 minutes to 12 hours.")

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow's signature
        """Make a token, and store it.

        :raises AccessDenied: CodeArtifact, Secrets Manager or KMS denied access; names the action to allow.
        :raises AwsError: CodeArtifact did not return a token.
        :raises SecretsError: Secrets Manager did not store the token.
        """
        from airflow_mwaa_provider.client.aws.code_artifact import make_token
        from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager

        self.read_rendered(required=("domain", "domain_owner", "secret_name"))
        of_secret = self.hook_settings
        of_domain = replace(of_secret, region_name=self.domain_region or self.region_name)
        token, expiry = make_token(
            of_domain.aws_client("codeartifact", attempts=1), self.domain, self.domain_owner, self.token_lifetime
        )
        secrets = SecretsManager(of_secret.aws_client("secretsmanager", attempts=1), kms_key_id=self.kms_key_id)
        secrets.put(self.secret_name, token, f"Token of CodeArtifact domain {self.domain}")
        expires_at = expiry.isoformat()
        self.log.info(
            "Secret %r: stored a token of domain %r, valid until %s", self.secret_name, self.domain, expires_at
        )
        return {"secret_name": self.secret_name, "expires_at": expires_at}
