# SPDX-License-Identifier: Apache-2.0
"""The machine's resources: processes, the state folder, PostgreSQL, moto, mirrors of buckets, logs."""
