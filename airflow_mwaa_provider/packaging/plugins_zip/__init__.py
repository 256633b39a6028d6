# SPDX-License-Identifier: Apache-2.0
"""plugins.zip: built from plugins, wheels and binaries, and inspected before it is uploaded.

``building`` assembles one from what ``sources``, ``oracle`` and ``hive`` read; ``inspection`` reports what is wrong
with one, whatever made it.
"""
