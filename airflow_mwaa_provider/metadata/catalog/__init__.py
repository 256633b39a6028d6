# SPDX-License-Identifier: Apache-2.0
"""What is in a metadata database: its tables, and which rows and columns of them are asked for."""
