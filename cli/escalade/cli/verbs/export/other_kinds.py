"""Models that are no language model of torch: linear classifiers, GGUF files, encoders.

Each is known by its folder or file, and refuses the options that are not for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from escalade.cli.errors import MissingError
from escalade.cli.verbs.export.choices import FormatChoice, QuantizeChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from escalade.edge.artifact import Manifest

_GGUF = ".gguf"
# What scikit-learn's models are often saved as; skops is read by a list of what is trusted.
_PICKLES = {".pkl", ".pickle", ".joblib", ".skops"}


def export_other_kind(
    model: str,
    out: Path,
    texts: list[str],
    format: FormatChoice,
    quantize: QuantizeChoice,
    max_new_tokens: int | None,
    only_text: Mapping[str, object],
    progress: Callable[[str], None],
) -> Manifest | None:
    """Export a model of another kind; None where it is a language model, and nothing is written.

    Args:
        model: as the verb takes it.
        out: the artifact.
        texts: golden ones; without any, the kind's own.
        format: the runtime it is for.
        quantize: how weights are stored.
        max_new_tokens: of a GGUF file's responses.
        only_text: what was given of a language model's options, by name.
        progress: called with a line before each step.
    """
    from escalade.edge.artifact import MANIFEST_NAME
    from escalade.edge.base import check_replaceable

    check_replaceable(out, MANIFEST_NAME)  # before torch is loaded, which takes seconds
    manifest = _linear(Path(model), out, texts, {**only_text, "--quantize": _but_none(quantize)})
    if manifest is None:
        manifest = _gguf_file(
            Path(model),
            out,
            texts,
            max_new_tokens,
            {
                **only_text,
                "--quantize": _but_none(quantize),
                "--max-new-tokens": None,
                "--format": only_text["--format"] if format is not FormatChoice.gguf else None,
            },
            progress,
        )
    if manifest is None:
        manifest = _encoder(model, out, texts, quantize, only_text, progress)
    return manifest


def _linear(
    folder: Path, out: Path, texts: list[str], not_for: Mapping[str, object]
) -> Manifest | None:
    """Export the folder of a linear classifier; None where it is something else."""
    from escalade.edge.classification import CLASSIFICATION_NAME

    if folder.suffix in _PICKLES and folder.is_file():
        raise typer.BadParameter(
            f"{folder}: reading a pickle runs what stands in it; export a classifier of"
            " scikit-learn from Python (escalade.export.linear.export_linear)",
            param_hint="MODEL",
        )
    if not (folder / CLASSIFICATION_NAME).is_file():
        return None
    _refuse(not_for)
    from escalade.export.linear import DEFAULT_GOLDEN_TEXTS, export_linear_folder

    return export_linear_folder(folder, out, golden_texts=texts or DEFAULT_GOLDEN_TEXTS)


def _gguf_file(
    path: Path,
    out: Path,
    texts: list[str],
    max_new_tokens: int | None,
    not_for: Mapping[str, object],
    progress: Callable[[str], None],
) -> Manifest | None:
    """Make an artifact of a GGUF file from elsewhere; None where it is something else."""
    if path.suffix.lower() != _GGUF or path.is_dir():
        return None
    if not path.exists():
        raise MissingError(f"{path}: no such file")
    for name, value in not_for.items():
        if value is not None:
            raise typer.BadParameter(
                f"is not for a GGUF file, which stays as it is; got {value}", param_hint=name
            )
    from escalade.export.artifact import DEFAULT_GOLDEN_PROMPTS, export_gguf_file

    return export_gguf_file(
        path,
        out,
        golden_prompts=texts or DEFAULT_GOLDEN_PROMPTS,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def _encoder(
    model: str,
    out: Path,
    texts: list[str],
    quantize: QuantizeChoice,
    not_for: Mapping[str, object],
    progress: Callable[[str], None],
) -> Manifest | None:
    """Export an encoder that classifies, or of sentences; None where it is a language model."""
    from escalade.checkpoint import check_model

    check_model(model)
    progress("loading torch")  # which takes seconds

    from escalade.checkpoint import is_classifier, is_sentence_encoder, locate
    from escalade.export.artifact import DEFAULT_GOLDEN_TEXTS

    located = locate(model)
    if not is_classifier(located.folder):
        return None
    _refuse(not_for)
    if is_sentence_encoder(located.folder):
        from escalade.export.artifact import export_sentence_encoder as export_encoder
    else:
        from escalade.export.artifact import export_classifier as export_encoder
    return export_encoder(
        located.folder,
        out,
        name=located.name,
        quantize=quantize.value,
        golden_texts=texts or DEFAULT_GOLDEN_TEXTS,
        progress=progress,
    )


def _refuse(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(
                f"is not for a classifier of this kind, got {value}", param_hint=name
            )


def _but_none(quantize: QuantizeChoice) -> QuantizeChoice | None:
    return None if quantize is QuantizeChoice.none else quantize
