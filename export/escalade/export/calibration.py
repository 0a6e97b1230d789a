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


def calibrate(
    model: PreTrainedModel,
    folder: Path,
    scheme: Scheme,
    prompts: Sequence[str] | None,
    window: int,
    progress: Callable[[str], None],
) -> str:
    """Leave hessians on a model's layers, where its weights are rounded by text.

    Args:
        model: in float32.
        folder: where its tokenizer lies.
        scheme: how weights are stored.
        prompts: to read; None has a decoder write its text in `int4`.
        window: of the model, in tokens.
        progress: called with a line before it begins.

    Returns:
        Whose text it was, for people; empty where prompts, or nothing, was read.

    Raises:
        OptionError: no prompt leaves room for an answer.
    """
    if prompts:
        progress(f"reading {len(prompts)} prompts to round weights by")
        _read(model, folder, prompts, window)
        return ""
    if prompts is not None or scheme != "int4" or model.config.is_encoder_decoder:
        return ""
    from escalade.export.quantization import gather_hessians_of_text, write_text

    progress("writing text to round weights by")
    with quiet():
        gather_hessians_of_text(model, write_text(model, window=window))
    return " on text that it wrote"


def _read(model: PreTrainedModel, folder: Path, prompts: Sequence[str], window: int) -> None:
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
