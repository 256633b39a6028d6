# SPDX-License-Identifier: Apache-2.0
"""The tables of a metadata database, and the choice of their rows and columns."""
