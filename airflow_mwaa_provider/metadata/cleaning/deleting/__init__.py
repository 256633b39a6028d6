# SPDX-License-Identifier: Apache-2.0
"""Delete in short transactions."""
