# SPDX-License-Identifier: Apache-2.0
"""Route ``api``: the messages between this process and the web server's plugin."""
