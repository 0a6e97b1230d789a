"""Which prompts a model can read with room for an answer; knows no rounding, and no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from escalade.checkpoint import PROMPTS_NAME
from escalade.edge.artifact import TOKENIZER_NAME
from escalade.export.errors import OptionError

# Of the model's own answer to each prompt that weights are rounded by.
_NEW_TOKENS = 64
#: That a checkpoint must keep to be rounded by them: so many are worth the model's own text
#: (docs/widths.md).
LEAST_PROMPTS = 64
# Of prompts that weights are rounded by, this share of tokens may be unknown: names and signs, not
# all of a language.
_MOST_UNKNOWN = 0.5


def prompts_to_answer(
    option: str, tokenizer: Tokenizer, prompts: Sequence[str], most: int
) -> list[list[int]]:
    """Token ids of the prompts that leave room for an answer.

    Args:
        option: who gave them, for messages.
        tokenizer: the model's.
        prompts: at least one.
        most: tokens that a prompt may have.

    Raises:
        OptionError: none leaves room; or more than half of what they say is none of the
            tokenizer's tokens, as in another script than the model's.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(list(prompts))]
    fitting = [ids for ids in encoded if 1 <= len(ids) <= most]
    if not fitting:
        raise OptionError(f"{option}: no prompt has 1 to {most} tokens, of {len(encoded)} given")
    unknown = _unknown_of(tokenizer)
    tokens = sum(map(len, fitting))
    strange = sum(ids.count(unknown) for ids in fitting) if unknown is not None else 0
    if strange > _MOST_UNKNOWN * tokens:
        raise OptionError(
            f"{option}: the model's tokenizer knows at least half of such text, of these prompts"
            f" {tokens - strange} of {tokens} tokens; is it in another language?"
        )
    return fitting


def fitting_prompts(
    prompts: Sequence[str], folder: Path, window: int, *, option: str = "--gptq"
) -> list[list[int]]:
    """Token ids of those that weights can be rounded by.

    Args:
        prompts: at least one.
        folder: where the tokenizer lies.
        window: of the model, in tokens.
        option: who gave them, for messages.

    Raises:
        OptionError: see `prompts_to_answer`.
    """
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    return prompts_to_answer(option, tokenizer, prompts, window - longest_answer(window))


def enough_prompts(
    prompts: Sequence[str], folder: Path, window: int, progress: Callable[[str], None]
) -> bool:
    """Whether weights are rounded by prompts that nobody gave for it; where not, it says why.

    Args:
        prompts: that a checkpoint keeps.
        folder: where its tokenizer lies.
        window: of the model, in tokens.
        progress: called with a line.
    """
    try:
        fitting = len(fitting_prompts(prompts, folder, window, option=PROMPTS_NAME))
        if fitting < LEAST_PROMPTS:
            raise OptionError(
                f"{PROMPTS_NAME}: at least {LEAST_PROMPTS} prompts that leave room for an answer"
                f" are enough, got {fitting}"
            )
    except OptionError as error:
        progress(f"passing over {error}")
        return False
    progress(f"taking {fitting:,} prompts that the model was trained on ({PROMPTS_NAME})")
    return True


def longest_answer(window: int) -> int:
    """Tokens of the answer to each that is read with it."""
    return min(_NEW_TOKENS, window // 2)


def _unknown_of(tokenizer: Tokenizer) -> int | None:
    """What stands for text that no token is of; None where bytes have tokens of their own."""
    name: str | None = getattr(tokenizer.model, "unk_token", None)
    found: int | None = getattr(tokenizer.model, "unk_id", None)
    return found if name is None else tokenizer.token_to_id(name)
