"""`escalade outbox clear`: deletes what an outbox holds; asks nobody."""

from __future__ import annotations

from escalade.cli.options import JsonOption, OutboxOption


def clear(outbox: OutboxOption = None, json: JsonOption = False) -> None:
    """Delete every query and every answer in the outbox."""
    from escalade.cli.output import print_json, result_console
    from escalade.cli.verbs.outbox.opening import open_outbox

    with open_outbox(outbox) as opened:
        count = opened.clear()
    if json:
        print_json({"deleted": count})
        return
    result_console().print(f"{opened.path}: {count} deleted")
