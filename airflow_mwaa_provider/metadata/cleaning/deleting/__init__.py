# SPDX-License-Identifier: Apache-2.0
"""Short transactions that delete."""
