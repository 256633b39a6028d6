# SPDX-License-Identifier: Apache-2.0
"""Startup scripts for MWAA's containers: text that bash sources before requirements.txt is installed.

Each part is a script of its own, and several can be put one after another in one file. A part changes no option of
the shell, ends whatever fails with one line in the log, and lets the container start.
"""
