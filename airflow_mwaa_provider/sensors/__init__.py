# SPDX-License-Identifier: Apache-2.0
"""Sensors. Importing one at DAG-parse time loads neither boto3 nor the amazon provider."""
