# SPDX-License-Identifier: Apache-2.0
"""Links from a task's page to what it works with elsewhere."""
