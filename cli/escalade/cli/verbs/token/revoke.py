"""`escalade token revoke`: a client may no longer ask; knows no server."""

from __future__ import annotations

from escalade.cli.verbs.token.file import DEFAULT, NameArgument, TokensArgument, change


def revoke(name: NameArgument, file: TokensArgument = DEFAULT) -> None:
    """Take a client out; a server that is running refuses it within a second or two."""
    from escalade.cli.output import result_console
    from escalade.cloud.access import without_entry

    change(file, lambda text: without_entry(text, name))
    result_console().print(f"{file}: {name} may no longer ask")
