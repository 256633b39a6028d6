# SPDX-License-Identifier: Apache-2.0
"""HTTPS to a web server: time limits, proxies, retries, and what a failed connection means."""
