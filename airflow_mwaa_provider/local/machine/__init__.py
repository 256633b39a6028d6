# SPDX-License-Identifier: Apache-2.0
"""What all of it needs of this machine: processes, the state folder, PostgreSQL, moto, the mirror of buckets, logs."""
