# SPDX-License-Identifier: Apache-2.0
"""Triggers: what deferred operators and sensors wait with."""
