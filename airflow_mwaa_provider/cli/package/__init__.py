# SPDX-License-Identifier: Apache-2.0
"""Commands that make the files which are uploaded to AWS."""
