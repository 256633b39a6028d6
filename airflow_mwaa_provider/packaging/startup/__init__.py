# SPDX-License-Identifier: Apache-2.0
"""Startup scripts for MWAA's containers: text that bash sources before requirements.txt is installed.

Each part is a script of its own, and one file can contain several, one after another. A part changes no option of the
shell, logs one line for whatever fails, and lets the container start.
"""
