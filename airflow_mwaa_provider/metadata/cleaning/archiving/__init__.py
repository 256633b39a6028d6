# SPDX-License-Identifier: Apache-2.0
"""Archive rows in S3 before they are deleted."""
