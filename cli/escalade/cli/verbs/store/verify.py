"""`escalade store verify`: an artifact held against its manifest and key; knows no store."""

from __future__ import annotations

from escalade.cli.options import ArtifactArgument, JsonOption, SkipGoldenOption, TrustedKeyOption


def verify(
    artifact: ArtifactArgument,
    trusted_key: TrustedKeyOption = None,
    skip_golden: SkipGoldenOption = False,
    json: JsonOption = False,
) -> None:
    """Check an artifact: schema, files and hashes, golden prompts, and who signed it."""
    from escalade.cli.output import print_json, result_console, signature_words
    from escalade.edge.artifact import (
        check_signature,
        read_manifest,
        shared_lock_if_possible,
        signature_state,
    )
    from escalade.edge.generation import play_golden

    with shared_lock_if_possible(artifact) as folder:
        if trusted_key is not None:
            check_signature(folder, trusted_key)
        state = signature_state(folder, trusted_key)
        manifest = read_manifest(folder)
        golden = None if skip_golden else play_golden(folder)
    size = manifest.total_bytes
    if json:
        print_json(
            {
                "schema": manifest.schema,
                "files": len(manifest.files),
                "bytes": size,
                "golden_prompts": None if golden is None else golden[0],
                "signature": state,
            }
        )
        return
    answers = "not played" if golden is None else "{} of {} answered as listed".format(*golden)
    result_console().print(
        f"manifest: schema {manifest.schema}, every value in range\n"
        f"files: {len(manifest.files)}, {size:,} bytes, sizes and sha256 as listed, nothing else\n"
        f"golden prompts: {answers}\n"
        f"signature: {signature_words(state, trusted_key)}"
    )
