# SPDX-License-Identifier: Apache-2.0
"""Options that were renamed after the DAG parameter of the same meaning, and still accept their old name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["renamed_option"]


class _RenamedOption(click.Option):
    """An option with an old name that is accepted but not shown."""

    def __init__(self, declarations: Any, *, was: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self._was = was

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Add both names to the parser. Help, errors and completion use only :attr:`opts`."""
        super().add_to_parser(parser, ctx)
        shown, name = self.opts, self.name
        self.opts, self.name = [self._was], name if self.multiple else self._was  # whose value is stored apart
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts, self.name = shown, name

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Take the value that either name was given, and refuse two values that differ."""
        if self._was in opts:
            now, value = self.opts[0], opts[self._was]
            opts = {str(self.name): value, **opts}
            if opts[str(self.name)] != value:
                raise click.UsageError(f"{now} and its old name {self._was} have different values. Give only {now}.")
        return super().handle_parse_result(ctx, opts, args)


def renamed_option(name: str, parameter: str, *, was: str, **attributes: Any) -> Callable[[Any], Any]:
    """Add an option to a command that also accepts an old name.

    :param name: of the option: ``--file-format``.
    :param parameter: of the command function: ``file_format``.
    :param was: the old name: ``--format``.
    """
    return click.option(name, parameter, cls=_RenamedOption, was=was, **attributes)
