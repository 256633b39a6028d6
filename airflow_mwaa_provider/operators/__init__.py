# SPDX-License-Identifier: Apache-2.0
"""Operators. Importing one at DAG-parse time loads neither boto3 nor the amazon provider."""
