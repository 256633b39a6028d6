# SPDX-License-Identifier: Apache-2.0
"""plugins.zip: built out of plugins, wheels and binaries, and inspected before it is uploaded.

``building`` puts one together from what ``sources``, ``oracle`` and ``hive`` read; ``inspection`` says what is wrong
with one, whoever made it.
"""
