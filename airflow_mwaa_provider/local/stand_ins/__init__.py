# SPDX-License-Identifier: Apache-2.0
"""Servers that stand for what samples run against and moto does not have: each keeps what was sent to it."""
