# SPDX-License-Identifier: Apache-2.0
"""What the repository's tests report besides passing or failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each ``summary`` property that a test recorded, for ``scripts/check`` to find."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(f"summary: {value}")
