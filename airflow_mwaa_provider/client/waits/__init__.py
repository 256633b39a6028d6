# SPDX-License-Identifier: Apache-2.0
"""Waits for DAG runs and tasks: pure steps, and the two ways to take them."""
