# SPDX-License-Identifier: Apache-2.0
"""What an environment's state looks like in CloudWatch: metrics, dashboards and alarms."""
