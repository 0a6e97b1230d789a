"""`escalade outbox list`: what an outbox holds; asks nobody."""

from __future__ import annotations

from escalade.cli.options import JsonOption, OutboxOption


def waiting(outbox: OutboxOption = None, json: JsonOption = False) -> None:
    """List the queries that wait, and the answers that nobody has taken yet, oldest first."""
    from datetime import UTC, datetime

    from escalade.cli.output import print_json, result_console
    from escalade.cli.verbs.outbox.opening import open_outbox

    with open_outbox(outbox) as opened:
        entries = opened.entries()
    if json:
        print_json(entries)
        return
    for one in entries:
        kept = datetime.fromtimestamp(one.kept_at, UTC)
        result_console().print(
            f"{one.id}  {kept:%Y-%m-%dT%H:%M:%SZ}  {one.state}  {' '.join(one.prompt.split())}"
        )
