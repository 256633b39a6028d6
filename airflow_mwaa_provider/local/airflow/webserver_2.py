# SPDX-License-Identifier: Apache-2.0
"""Airflow 2's web server, in the warm interpreter instead of two new ones.

Run by its path inside the environment's interpreter: standard library, Airflow and gunicorn only. ``airflow
webserver`` starts gunicorn as another process, which imports Airflow again, and monitors it; if gunicorn
cannot start, it notices only after minutes. This program starts the same server, with the same arguments.
"""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    """Serve until ended."""
    from airflow import configuration

    conf = configuration.conf
    configuration.write_webserver_configuration_if_needed(conf)  # type: ignore[attr-defined]
    os.environ["SKIP_DAGS_PARSING"] = "True"
    sys.argv = [
        "gunicorn",
        "--workers",
        conf.get_mandatory_value("webserver", "workers"),
        "--worker-class",
        conf.get_mandatory_value("webserver", "worker_class"),
        "--timeout",
        conf.get_mandatory_value("webserver", "web_server_worker_timeout"),
        "--bind",
        f"127.0.0.1:{conf.getint('webserver', 'web_server_port')}",
        "--name",
        "airflow-webserver",
        "--config",
        "python:airflow.www.gunicorn_config",
        "--access-logfile",
        "-",
        "--error-logfile",
        "-",
        "--preload",
        "airflow.www.app:cached_app()",
    ]
    importlib.import_module("gunicorn.app.wsgiapp").run()


if __name__ == "__main__":
    main()
