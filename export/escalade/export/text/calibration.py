"""Has a model read the text that its weights are rounded by; knows no rounding, no graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from escalade.edge.artifact import TOKENIZER_NAME, Scheme
from escalade.edge.base import counted
from escalade.export.errors import OptionError
from escalade.export.kept import Kept
from escalade.export.memory import give_back
from escalade.export.products import multiplies_short, short_products
from escalade.export.quiet import quiet
from escalade.export.text.prompts import LEAST_PROMPTS, fitting_prompts, longest_answer
from escalade.export.text.rounding_text import BY_OWN_TEXT, RoundingText
from escalade.export.threads import one_thread

if TYPE_CHECKING:
    from escalade.export.quantization import Answered

# That are read forwards and backwards to see what each matrix matters.
_CURVATURE_TOKENS, _LEAST_TOKENS = 4096, 32
# That hessians are gathered of; more change the rounding little, and each is read alone.
_READ_PROMPTS = 256
#: Decoders of at most so many are tuned; twice the parameters take twice the time.
TUNED_PARAMETERS = 250_000
# Of a text: what was computed of each token stays in memory until the way back.
_PIECE_TOKENS = 256


class Calibrated(NamedTuple):
    """What was read."""

    #: Whose text it was, for people; empty where nothing was read, or nobody says.
    by: str
    #: What rounded matrices are to be tuned by; empty where they are not.
    answers: Sequence[Answered] = ()


def calibrate(
    model: PreTrainedModel,
    folder: Path,
    scheme: Scheme,
    text: RoundingText,
    window: int,
    progress: Callable[[str], None],
    *,
    end_ids: Sequence[int],
    kept: Kept,
    hangs_on: Mapping[str, object],
    budgeted: bool = False,
    tuned: bool = True,
) -> Calibrated:
    """Leave hessians on a model's layers, where its weights are rounded by text.

    In few bits a decoder's count tokens by what its answers hang on; that is left there too.

    Args:
        model: in float32.
        folder: where its tokenizer lies.
        scheme: how weights are stored.
        text: prompts to read; None has a decoder write its text in `int4`.
        window: of the model, in tokens.
        progress: called with a line before it begins.
        end_ids: what ends an answer.
        kept: where what is rounded by text stays until all is.
        hangs_on: beside the text, what that hangs on, as JSON takes it.
        budgeted: whether bits are spent by what was measured, for which there must be enough text.
        tuned: whether a small decoder is to be tuned by prompts, where these are given.

    Raises:
        OptionError: see `fitting_prompts`; or there is too little text to measure by.
    """
    prompts = text.prompts
    small = model.num_parameters() <= TUNED_PARAMETERS
    with one_thread() if small else nullcontext():  # too little to share
        guided = scheme == "int4" and not model.config.is_encoder_decoder
        if prompts or (prompts is None and guided):
            # Sums of floats hang on how many threads share them.
            computing = {"threads": torch.get_num_threads(), "short": multiplies_short(model)}
            before = kept.begin({**hangs_on, **computing, "text": prompts, "tuned": tuned})
            if before:
                progress(
                    f"going on from {counted(before, 'step')} of an export that was interrupted"
                )
        if prompts:
            some = min(len(prompts), _READ_PROMPTS)
            progress(f"reading {counted(some, 'prompt')} to round weights by")
            fitting = fitting_prompts(prompts, folder, window)
            if len(fitting) < LEAST_PROMPTS and sum(map(len, fitting)) < _CURVATURE_TOKENS:
                progress(
                    f"only {counted(len(fitting), 'prompt')}: weights may lose more by fewer than"
                    f" {LEAST_PROMPTS} than by text that the model writes"
                )
            read = _read(model, fitting, window)
            if guided:
                _measure(model, read, progress, needed_by="--bits" if budgeted else "--gptq")
            if guided and tuned and small:
                progress(f"answering {counted(len(fitting), 'prompt')} to tune weights by")
                with quiet():
                    return Calibrated(text.named, _answered(model, fitting, window, end_ids, kept))
            return Calibrated(text.named)
        if prompts is not None or not guided:
            return Calibrated("")
        progress("writing text to round weights by")
        with quiet():
            step = kept.once("texts", lambda: _written(model, folder, window, end_ids))
        give_back()
        texts = [ids.tolist() for ids in step["ids"].split(step["lengths"].tolist())]
        _measure(model, texts, progress, needed_by="--bits" if budgeted else None)
        return Calibrated(BY_OWN_TEXT)


def _written(
    model: PreTrainedModel, folder: Path, window: int, end_ids: Sequence[int]
) -> dict[str, Tensor]:
    """Text of the model's own, one after the other, and how long each is."""
    from escalade.export.quantization import asked_by, write_answers, write_text

    asked = asked_by(Tokenizer.from_file(str(folder / TOKENIZER_NAME)))
    texts: Sequence[Tensor]
    with short_products(model):
        if asked is None:
            texts = write_text(model, window=window).unbind()
        else:
            texts = [one.ids for one in write_answers(model, asked, end_ids, window=window)]
    return {"ids": torch.cat(list(texts)), "lengths": torch.tensor([len(one) for one in texts])}


def _measure(
    model: PreTrainedModel,
    texts: Sequence[Sequence[int]],
    progress: Callable[[str], None],
    *,
    needed_by: str | None,
) -> None:
    from escalade.export.quantization import gather_curvatures

    some: list[Sequence[int]] = []
    for text in texts:
        if sum(map(len, some)) < _CURVATURE_TOKENS:
            some.append(text[:_PIECE_TOKENS])
    tokens = sum(map(len, some))
    if needed_by and tokens < _LEAST_TOKENS:
        raise OptionError(
            f"{needed_by}: text to measure by must have at least {_LEAST_TOKENS} tokens,"
            f" got {tokens}"
        )
    progress(f"measuring on {tokens:,} tokens what each matrix matters")
    with quiet(), short_products(model):
        gather_curvatures(model, some)
    give_back()


def _read(model: PreTrainedModel, fitting: Sequence[list[int]], window: int) -> list[list[int]]:
    """Returns those of the prompts that were read."""
    from escalade.export.quantization import gather_hessians

    count = min(len(fitting), _READ_PROMPTS)
    some = [fitting[at * len(fitting) // count] for at in range(count)]
    with quiet():
        gather_hessians(model, some, max_new_tokens=longest_answer(window))
    return some


def _answered(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    window: int,
    end_ids: Sequence[int],
    kept: Kept,
) -> list[Answered]:
    from escalade.export.quantization import Answered, answer_prompts

    def drawn() -> dict[str, Tensor]:
        texts = answer_prompts(model, prompts, end_ids, window=window)
        return {
            "ids": torch.cat([text.ids for text in texts]),
            "lengths": torch.tensor([[len(text.ids), text.first] for text in texts]),
        }

    step = kept.once("answers", drawn)
    lengths, firsts = step["lengths"].unbind(1)
    texts = step["ids"].split(lengths.tolist())
    return [Answered(*text) for text in zip(texts, firsts.tolist(), strict=True)]
