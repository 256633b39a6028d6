# SPDX-License-Identifier: Apache-2.0
"""Route ``cli``: Airflow's own ``db clean``, through the CLI endpoint of an environment, so that it can be trusted.

``db clean`` exits with 0 when it failed, deletes what runs, and MWAA cuts a long call off. So rows are counted before
and after each call, and the counts say what happened; what hangs on runs goes only as far as nothing unfinished can
be among it; what ``db clean`` cannot tell from what is in use stays; and a call takes no more rows than it can delete
in a short time, the oldest first.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, CallTimeout, MetadataError, MwaaError, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.cli_choice import HANGS_ON_RUNS, TAKEN_ALONG, choose_tables
from airflow_mwaa_provider.metadata.cleaning.cli_output import Runs, error_line, read_output
from airflow_mwaa_provider.metadata.cleaning.cli_slices import Slices
from airflow_mwaa_provider.metadata.cleaning.outcome import Kept, Outcome, Plan, TablePlan
