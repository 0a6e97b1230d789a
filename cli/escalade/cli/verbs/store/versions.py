"""`escalade store versions`: what a store keeps; changes nothing."""

from __future__ import annotations

from escalade.cli.options import JsonOption, StoreArgument, TrustedKeyOption


def versions(
    store: StoreArgument, trusted_key: TrustedKeyOption = None, json: JsonOption = False
) -> None:
    """List a store's versions in the order they became current, and who signed them."""
    from escalade.cli.output import harmless, print_json, result_console, signature_words
    from escalade.edge.store import Store

    found = Store(store).versions(trusted_key)
    if json:
        print_json(found)
        return
    for version in found:
        line = (
            f"{'*' if version.current else ' '} {version.id[:12]}  {version.model or '-'}"
            f"  {version.bytes:,} bytes  {version.created or '-'}"
            f"  {signature_words(version.signature, trusted_key)}"
            f"{f'  {version.problem}' if version.problem else ''}"
        )
        # Whoever wrote the manifest is not to move the reader's cursor.
        result_console().print(harmless(line))
