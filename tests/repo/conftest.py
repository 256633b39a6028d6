# SPDX-License-Identifier: Apache-2.0
"""What the tests of the repository report beside passing or failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each property ``summary`` that a test has recorded, as ``scripts/check`` looks for it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(f"summary: {value}")
