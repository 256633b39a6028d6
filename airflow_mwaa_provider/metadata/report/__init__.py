# SPDX-License-Identifier: Apache-2.0
"""A page with plots of what an export holds."""
