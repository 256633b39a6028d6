# SPDX-License-Identifier: Apache-2.0
"""A cleanup that archives first."""
