# SPDX-License-Identifier: Apache-2.0
"""An environment's state in CloudWatch: metrics, dashboards and alarms."""
