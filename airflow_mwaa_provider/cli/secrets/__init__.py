# SPDX-License-Identifier: Apache-2.0
"""Commands for secrets and their cache."""
