# SPDX-License-Identifier: Apache-2.0
"""The command ``airflow-mwaa``: thin over the other layers, and imported by none of them.

An option has the name of the DAG parameter of the same meaning: ``file_format`` is ``--file-format``. One that is
repeated is named in the singular: ``tables`` is ``--table``. The exceptions are words that terminals have already:
``--region`` (``region_name``, as in the AWS CLI) and ``--dag`` (``dag_ids``). A command that is always about one
environment takes ``env_name`` as the argument ``ENV``.

A renamed option still accepts its old name, which the help does not show: see :mod:`.support.renamed`.
"""
