# SPDX-License-Identifier: Apache-2.0
"""The command ``airflow-mwaa``: thin over the other layers, and imported by none of them.

An option has the name of the DAG parameter of the same meaning: ``file_format`` is ``--file-format``. One that is
repeated is named in the singular: ``tables`` is ``--table``. The exceptions are words that a terminal has already:
``--region`` (the AWS CLI's ``region_name``), ``--dag`` (one of ``dag_ids``), ``--poll-interval`` (``poke_interval``
belongs to sensors), and the argument ``ENV`` (``env_name``, where a command is always about one environment).

An option that gets another name still takes the old one, which no help shows: :mod:`.support.renamed`.
"""
