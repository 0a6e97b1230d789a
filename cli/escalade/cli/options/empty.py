"""Refuses empty options and arguments, of every verb at once; knows none of them.

An empty path would be read as this folder, and what a script did not set is given as empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click.core import Context

# What people say, and arguments of another program, may be empty.
_TEXTS = {"prompt", "system", "task", "command"}


def refuse_empty(app: typer.Typer) -> None:
    """Have all verbs of an app refuse what is given and empty, before they run."""
    app.info.cls = _Group
    for verb in app.registered_commands:
        verb.cls = _Verb
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_empty(group.typer_instance)


class _Verb(TyperCommand):
    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse, and look at what was given."""
        return _parsed(self, super().parse_args, ctx, args)


class _Group(TyperGroup):
    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse, and look at what was given before the verb."""
        return _parsed(self, super().parse_args, ctx, args)


def _parsed(
    command: TyperCommand | TyperGroup,
    parse: Callable[[Context, list[str]], list[str]],
    ctx: Context,
    args: list[str],
) -> list[str]:
    typed = list(args)
    rest = parse(ctx, args)
    # As they were typed: of an empty path nothing is left to see when it has become a `Path`.
    given, _, _ = command.make_parser(ctx).parse_args(args=typed)
    for one in command.params:
        if not isinstance(one, TyperArgument | TyperOption) or one.name in _TEXTS:
            continue
        if "" in _each(given.get(one.name)):
            raise typer.BadParameter(f"{_allowed(one)}, got ''", ctx=ctx, param=one)
    return rest


def _each(given: object) -> Iterable[object]:
    return given if isinstance(given, list | tuple) else (given,)


def _allowed(parameter: TyperArgument | TyperOption) -> str:
    if parameter.metavar:
        return f"must be {parameter.metavar}"
    is_path = "Path" in str(parameter.type_descriptor.annotation)
    return "must be a path" if is_path else "must have at least 1 character"
