# SPDX-License-Identifier: Apache-2.0
"""Options that have got the name of the DAG parameter of the same meaning, and still take the one that they had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["renamed_option"]


class _RenamedOption(click.Option):
    """An option with an older name, which is parsed and shown nowhere."""

    def __init__(self, declarations: Any, *, was: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self._was = was

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser take both names. Help, errors and completion see only :attr:`opts`."""
        shown, self.opts = self.opts, [*self.opts, self._was]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def renamed_option(name: str, parameter: str, *, was: str, **attributes: Any) -> Callable[[Any], Any]:
    """Add an option to a command, which an older name leads to as well.

    :param name: of the option: ``--file-format``.
    :param parameter: what the command calls it: ``file_format``.
    :param was: the older name: ``--format``.
    """
    return click.option(name, parameter, cls=_RenamedOption, was=was, **attributes)
