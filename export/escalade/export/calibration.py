"""Has a model read the text that its weights are rounded by; knows no rounding, no graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from escalade.edge.artifact import TOKENIZER_NAME, Scheme
from escalade.export.errors import OptionError
from escalade.export.quiet import quiet

# Of the model's own answer to each prompt that weights are rounded by.
_GPTQ_NEW_TOKENS = 64
# That are read forwards and backwards to see what each matrix matters.
_CURVATURE_TOKENS, _LEAST_TOKENS = 1024, 32
# Of a text: what was computed of each token stays in memory until the way back.
_PIECE_TOKENS = 128


def calibrate(
    model: PreTrainedModel,
    folder: Path,
    scheme: Scheme,
    prompts: Sequence[str] | None,
    window: int,
    progress: Callable[[str], None],
    *,
    curvatures: bool = False,
) -> str:
    """Leave hessians on a model's layers, where its weights are rounded by text.

    Args:
        model: in float32.
        folder: where its tokenizer lies.
        scheme: how weights are stored.
        prompts: to read; None has a decoder write its text in `int4`.
        window: of the model, in tokens.
        progress: called with a line before it begins.
        curvatures: whether what an error of each layer's outputs costs is left there too.

    Returns:
        Whose text it was, for people; empty where prompts, or nothing, was read.

    Raises:
        OptionError: no prompt leaves room for an answer, or, for curvatures, there is too little
            text.
    """
    if prompts:
        progress(f"reading {len(prompts)} prompts to round weights by")
        read = _read(model, folder, prompts, window)
        if curvatures:
            _measure(model, read, progress)
        return ""
    if prompts is not None or scheme != "int4" or model.config.is_encoder_decoder:
        return ""
    from escalade.export.quantization import gather_hessians_of_text, write_text

    progress("writing text to round weights by")
    with quiet():
        text = write_text(model, window=window)
        gather_hessians_of_text(model, text)
    if curvatures:
        _measure(model, text.tolist(), progress)
    return " on text that it wrote"


def _measure(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], progress: Callable[[str], None]
) -> None:
    from escalade.export.quantization import gather_curvatures

    some: list[Sequence[int]] = []
    for text in texts:
        if sum(map(len, some)) < _CURVATURE_TOKENS:
            some.append(text[:_PIECE_TOKENS])
    tokens = sum(map(len, some))
    if tokens < _LEAST_TOKENS:
        raise OptionError(
            f"--bits: text to measure by must have at least {_LEAST_TOKENS} tokens, got {tokens}"
        )
    progress(f"measuring on {tokens:,} tokens what each matrix matters")
    with quiet():
        gather_curvatures(model, some)


def _read(
    model: PreTrainedModel, folder: Path, prompts: Sequence[str], window: int
) -> list[list[int]]:
    """Returns the prompts that fit."""
    from escalade.export.quantization import gather_hessians

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    tokenizer.no_padding()
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(prompts))]
    longest = min(_GPTQ_NEW_TOKENS, window // 2)
    fitting = [ids for ids in encoded if 1 <= len(ids) <= window - longest]
    if not fitting:
        raise OptionError(
            f"--gptq: no prompt has 1 to {window - longest} tokens, of {len(encoded)} given"
        )
    with quiet():
        gather_hessians(model, fitting, max_new_tokens=longest)
    return fitting
