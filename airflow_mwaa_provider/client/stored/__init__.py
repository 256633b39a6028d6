# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools as documents and files."""
