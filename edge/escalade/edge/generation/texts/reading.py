"""How a model reads a prompt: ids of its vocabulary, within its window; knows no program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from tokenizers import Tokenizer

from escalade.edge.artifact import ModelEntry
from escalade.edge.errors import PromptError, TooLongError
from escalade.edge.generation.texts.classes import Classes
from escalade.edge.generation.texts.token_texts import vocabulary_of
from escalade.v1.prompt_size import longest_token_bytes, most_prompt_bytes


class Reading:
    """What of a text a model takes, and how much room is left for its answer."""

    def __init__(self, model: ModelEntry, tokenizer: Tokenizer, classes: Classes | None) -> None:
        """Take what it reads with.

        Args:
            model: its window and vocabulary.
            tokenizer: of what it reads.
            classes: of a classifier, which reads as much of a long text as it can.
        """
        self._model = model
        self._tokenizer = tokenizer
        self._classes = classes

    def encode(self, prompt: str, *, special_tokens: bool) -> list[int]:
        """See `Artifact.encode`."""
        if not prompt.strip():
            raise PromptError("the prompt is empty; at least 1 character is needed")
        try:
            size = len(prompt.encode())
        except UnicodeEncodeError as error:
            raise PromptError(f"the prompt is not valid Unicode text: {error}") from error
        window = self._model.window
        most = most_prompt_bytes(window, self.longest_token_bytes)
        if self._classes is not None:
            return self._classes.read(prompt, most)
        if size > most:
            raise TooLongError(
                f"the prompt has {size} bytes; this model takes at most {most} (window {window}"
                f" times its longest token, {self.longest_token_bytes} bytes)"
            )
        ids: list[int] = self._tokenizer.encode(prompt, add_special_tokens=special_tokens).ids
        self._check_length(len(ids))
        return ids

    def check_ids(self, token_ids: Sequence[int]) -> None:
        """See `Artifact.check_ids`."""
        last = self._model.vocabulary_size - 1
        if token_ids and not 0 <= min(token_ids) <= max(token_ids) <= last:
            wrong = next(token_id for token_id in token_ids if not 0 <= token_id <= last)
            raise PromptError(f"token ids must be in [0, {last}], got {wrong}")

    def room_for(self, prompt_ids: Sequence[int], max_new_tokens: int | None) -> int:
        """See `Artifact.room_for`."""
        if self._classes is None:
            self._check_length(len(prompt_ids))
        asked = self._model.max_new_tokens if max_new_tokens is None else max_new_tokens
        if asked < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {asked}")
        return 1 if self._classes is not None else min(asked, self._model.window - len(prompt_ids))

    @cached_property
    def longest_token_bytes(self) -> int:
        """See `escalade.v1.prompt_size`."""
        return longest_token_bytes(vocabulary_of(self._tokenizer))

    def _check_length(self, tokens: int) -> None:
        window = self._model.window
        if not 1 <= tokens < window:
            raise (TooLongError if tokens else PromptError)(
                f"the prompt has {tokens} tokens; this model takes 1 to {window - 1}"
                f" (window {window})"
            )
