"""`escalade token new`: lets another client ask; knows no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from escalade.cli.options import JsonOption, RequestsPerMinuteOption, TokensPerDayOption
from escalade.cli.verbs.token.file import DEFAULT, NameArgument, TokensArgument, change

# As far as Python counts, some 7,000 years.
_MOST_DAYS = 1_000_000


def new(
    name: NameArgument,
    file: TokensArgument = DEFAULT,
    expires_days: Annotated[
        int | None,
        typer.Option(
            "--expires-days",
            min=1,
            max=_MOST_DAYS,
            help="Days until it is refused; default: never.",
        ),
    ] = None,
    requests_per_minute: RequestsPerMinuteOption = None,
    tokens_per_day: TokensPerDayOption = None,
    json: JsonOption = False,
) -> None:
    """Make a token and print it, once: the file keeps its hash."""
    from escalade.cli.output import note_console, print_json
    from escalade.cloud.access import Limits, entry_of, make_token, with_entry

    expires = None
    if expires_days is not None:
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=expires_days)
    token = make_token()
    entry = entry_of(token, Limits(requests_per_minute, tokens_per_day), expires)
    change(file, lambda text: with_entry(text, name, entry), create=True)
    if json:
        print_json({"name": name, "token": token, "expires": expires and expires.isoformat()})
        return
    note_console().print(f"{file}: {name} may ask; its token is not shown again", style="dim")
    print(token)  # noqa: T201 - for a pipe into a file, whole
