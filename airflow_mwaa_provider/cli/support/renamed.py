# SPDX-License-Identifier: Apache-2.0
"""Options that were renamed after the DAG parameter of the same meaning, and still accept their old name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["renamed_option"]


class _RenamedOption(click.Option):
    """An option with an old name that is accepted but not shown."""

    def __init__(self, declarations: Any, *, was: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self._was = was

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Add both names to the parser. Help, errors and completion use only :attr:`opts`."""
        shown, self.opts = self.opts, [*self.opts, self._was]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def renamed_option(name: str, parameter: str, *, was: str, **attributes: Any) -> Callable[[Any], Any]:
    """Add an option to a command that also accepts an old name.

    :param name: of the option: ``--file-format``.
    :param parameter: of the command function: ``file_format``.
    :param was: the old name: ``--format``.
    """
    return click.option(name, parameter, cls=_RenamedOption, was=was, **attributes)
