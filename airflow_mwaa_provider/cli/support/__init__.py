# SPDX-License-Identifier: Apache-2.0
"""What commands have in common: options, output, errors."""
