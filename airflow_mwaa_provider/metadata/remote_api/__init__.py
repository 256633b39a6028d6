# SPDX-License-Identifier: Apache-2.0
"""Route ``api``: what this process and the plugin of the web server say to each other."""
