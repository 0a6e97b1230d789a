"""Makes an artifact of a GGUF file from elsewhere; has no torch model to hold it against.

The file goes into the folder as it is; its tokenizer and chat template are written beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from escalade.checkpoint import (
    CheckpointError,
    check_vocabulary,
    tokenizer_fingerprint,
    tokenizer_json,
)
from escalade.edge.artifact import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    TOKENIZER_NAME,
    Manifest,
    ModelEntry,
    ParityEntry,
    QuantizationEntry,
    file_entry,
    write_manifest,
)
from escalade.edge.base import atomic_folder, utc_now
from escalade.edge.deferral import DeferralEntry
from escalade.edge.generation import Artifact
from escalade.export.errors import ModelError, OptionError
from escalade.export.gguf import (
    GGUF_PROGRAM_NAME,
    GgufFile,
    check_survives,
    end_ids,
    kv_bytes_of,
    read_gguf,
    tokenizer_of,
)
from escalade.export.held import answer_golden, check_parity
from escalade.export.model import usual_new_tokens, write_chat_template
from escalade.export.versions import versions_of

_PACKAGES = ("escalade", "gguf", "llama_cpp_python", "transformers")


def export_gguf_file(
    source: Path,
    out: Path,
    *,
    golden_prompts: Sequence[str],
    name: str | None = None,
    max_new_tokens: int | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Make an artifact folder of a GGUF file.

    Args:
        source: of a decoder with its tokenizer, in one file.
        out: the artifact; replaced if an artifact is there.
        golden_prompts: asked now, and by every later opening.
        name: what the model is called; as its file if None.
        max_new_tokens: longest response by default; if None 256, and at most half the window.
        progress: called with a line before each step.

    Returns:
        The manifest that was written; its parity is with nothing.

    Raises:
        ModelError: the file cannot be read, is damaged, or is of a kind that cannot be opened.
        OptionError: `max_new_tokens` is out of range.
        ExportParityError: it gives a score that is no number.
        ArtifactError: llama.cpp cannot open it, or is not installed.
    """
    progress("reading the file")
    found = read_gguf(source)
    check_survives(source)
    longest = usual_new_tokens(found.window) if max_new_tokens is None else max_new_tokens
    if not 1 <= longest < found.window:
        raise OptionError(f"--max-new-tokens must be in [1, {found.window - 1}], got {longest}")
    with atomic_folder(out, marker=MANIFEST_NAME) as folder:
        program = folder / GGUF_PROGRAM_NAME
        shutil.copyfile(source, program)
        try:
            entry = _model_entry(found, folder, longest, name or source.stem)
        except (ModelError, CheckpointError) as error:
            raise ModelError(str(error).replace(str(program), str(source))) from error
        none = ParityEntry(prompts=0, same_tokens=0, mean_abs_delta_nll=0.0, max_abs_delta_nll=0.0)
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format="gguf",
            program=program.name,
            files={path.name: file_entry(path) for path in sorted(folder.iterdir())},
            model=entry,
            quantization=QuantizationEntry(scheme=found.scheme, detail=found.detail),
            deferral=DeferralEntry(),
            golden=[],
            parity=none,
            versions=versions_of(_PACKAGES),
            created=utc_now(),
        )
        write_manifest(folder, manifest)
        progress("asking the program")
        golden = answer_golden(Artifact.open(folder), golden_prompts)
        check_parity(none, golden, found.scheme)
        manifest = msgspec.structs.replace(manifest, golden=golden)
        write_manifest(folder, manifest)
    return manifest


def _model_entry(found: GgufFile, folder: Path, longest: int, name: str) -> ModelEntry:
    """Writes tokenizer and chat template into the folder, where the program lies alone."""
    program = folder / GGUF_PROGRAM_NAME
    tokenizer = tokenizer_of(program, found.vocabulary_size)
    check_vocabulary(tokenizer, found.vocabulary_size, program)
    (folder / TOKENIZER_NAME).write_text(tokenizer_json(tokenizer), "utf-8")
    return ModelEntry(
        name=name,
        revision=file_entry(program).sha256,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer, program),
        parameters=found.parameters,
        vocabulary_size=found.vocabulary_size,
        window=found.window,
        end_of_sequence_ids=end_ids(program),
        max_new_tokens=longest,
        layers=found.layers,
        kv_heads=found.kv_heads,
        head_dim=found.head_dim,
        widest=2 * found.inner,
        kv_bytes=kv_bytes_of(found.scheme),
        chat=write_chat_template(tokenizer, program, folder),
    )
