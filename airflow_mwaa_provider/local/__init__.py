# SPDX-License-Identifier: Apache-2.0
"""MWAA on this machine: its endpoints in front of real Airflows. Written from the service's words, not from client/."""
