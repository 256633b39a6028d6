# SPDX-License-Identifier: Apache-2.0
"""Commands for what the secrets backends keep and look up."""
