"""`escalade token list`: who may ask, how much, until when; knows no server."""

from __future__ import annotations

from escalade.cli.options import JsonOption
from escalade.cli.verbs.token.file import DEFAULT, TokensArgument


def list_(file: TokensArgument = DEFAULT, json: JsonOption = False) -> None:
    """Say who may ask: name, limits, expiry."""
    from escalade.cli.output import print_json, result_console
    from escalade.cloud.access import read_tokens
    from escalade.edge.base import counted

    entries = read_tokens(file)
    if json:
        print_json(
            [
                {
                    "name": name,
                    "expires": entry.expires and entry.expires.isoformat(),
                    **entry.limits._asdict(),
                }
                for name, entry in entries.items()
            ]
        )
        return
    for name, entry in entries.items():
        requests, tokens = entry.limits
        said = [
            "never expires" if entry.expires is None else f"expires {entry.expires:%Y-%m-%d %H:%M}",
            "" if requests is None else f"{counted(requests, 'request')} a minute",
            "" if tokens is None else f"{counted(tokens, 'token')} a day",
        ]
        result_console().print(f"{name}: {', '.join(filter(None, said))}")
