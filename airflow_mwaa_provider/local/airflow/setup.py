# SPDX-License-Identifier: Apache-2.0
"""Prepare an environment's metadata database: schema, roles and the administrator, in one interpreter.

Run by its path inside the environment's interpreter, which need not have this package: standard library and
Airflow only. Cold ``airflow db migrate`` and ``airflow users create`` would import Airflow twice.

The administrator's password is random and not stored: a copy of the database gets a new one.
"""

from __future__ import annotations

import importlib
import secrets
import sys

ADMIN = "admin"


def main() -> None:
    """Migrate, then create the administrator if there is none."""
    import airflow
    from airflow.providers_manager import ProvidersManager
    from airflow.utils import db

    manager = ProvidersManager()  # type: ignore[no-untyped-call]
    manager.initialize_providers_configuration()
    db.upgradedb()
    old = tuple(int(part) for part in airflow.__version__.split(".")[:2]) < (2, 9)
    package = "airflow.auth.managers.fab" if old else "airflow.providers.fab.auth_manager"
    builder = importlib.import_module(f"{package}.cli_commands.utils").get_application_builder
    with builder() as appbuilder:
        appbuilder.sm.sync_roles()
        if appbuilder.sm.find_user(ADMIN):
            return
        role = appbuilder.sm.find_role("Admin")
        email = f"{ADMIN}@example.invalid"
        if not appbuilder.sm.add_user(ADMIN, "Local", "Administrator", email, role, secrets.token_urlsafe(24)):
            sys.exit("the administrator could not be created")


if __name__ == "__main__":
    main()
