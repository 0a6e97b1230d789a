"""Runs an ONNX causal LM with onnxruntime and numpy alone; knows no text, no network.

Keys and values live in one buffer for each layer, as long as the window and allocated once,
which the program reads as past and writes as present. To go back in the text is to say that
less of the buffer counts: a prompt that begins as the last one did is only read from where
it differs. A draft of the answer is read with the prompt, and stands as far as the program would
have said the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import Step, reusable, steps_of
from escalade.edge.runtimes.onnx.mapped import drop_read
from escalade.edge.runtimes.onnx.session import (
    Beginnings,
    NextToken,
    bind,
    check_graph,
    keeps,
    open_session,
    present_of,
)
from escalade.edge.runtimes.program import (
    ATTENTION_MASK,
    CHUNK_TOKENS,
    INPUT_IDS,
    LOGITS,
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
)
from escalade.edge.runtimes.sampling import Sampling

# isort: split
import onnxruntime as ort  # after the session, which turns its telemetry off

# Tokens of a draft that are read with the prompt, and in one piece after that. Eight take as long
# as generating one or two (SmolLM2-135M, int8 and int4), which is what a wrong draft costs; where
# they are right, the rest mostly is.
_FIRST_DRAFTED, _MOST_DRAFTED = 8, 16


class OnnxRuntime:
    """Generation with one buffer of keys and values, on the CPU."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program and allocate the buffer.

        Args:
            program: the .onnx file; its data file lies beside it.
            manifest: checked by the caller.
            threads: of one operator; 0 leaves the choice to onnxruntime.

        Raises:
            ArtifactError: the program cannot be loaded, or its graph lacks an input or output.
        """
        self._program = program
        self._model = manifest.model
        self._end_ids = frozenset(self._model.end_of_sequence_ids)
        self._session = open_session(program, manifest, threads=threads)
        self._past_names = [
            node.name for node in self._session.get_inputs() if node.name.startswith(PAST_PREFIX)
        ]
        check_graph(
            program,
            self._session,
            inputs=[INPUT_IDS, ATTENTION_MASK, PAST_PREFIX + "0.key"],
            outputs=[NEXT_TOKEN, LOGPROB, LOGITS, *map(present_of, self._past_names)],
        )
        #: Tokens put through the model since it was opened: what a reused prefix saves.
        self.tokens_run = 0
        self._held: list[int] = []
        # This scheme rounds the activations of a whole chunk by one scale, so what is read
        # together changes the answer.
        self._reuses = manifest.quantization.scheme != "dynamic-int8"
        self.reads_drafts = self._reuses and keeps(self._session)
        # How much of what was held served the last prompt.
        self._reused = 0
        self._ids = np.zeros((1, CHUNK_TOKENS + _MOST_DRAFTED), dtype=np.int64)
        self._masks, self._chunks = (
            Beginnings(np.ones((1, self._model.window), dtype=np.int64)),
            Beginnings(self._ids),
        )
        self._next = NextToken(self._model.vocabulary_size, _MOST_DRAFTED + 1)
        self._cache = self._allocate()
        self._greedy = bind(self._session, self._cache, self._next, with_logits=False)
        self._sampled = bind(self._session, self._cache, self._next, with_logits=True)
        # By how many positions they keep.
        self._drafted = {1: self._greedy}

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        greedy = sampling is None and not top
        # The last token that it may say is not read, whatever the draft says.
        drafted = draft[: max_new_tokens - 1] if greedy and self.reads_drafts else ()
        # Of the draft, how much was said, how much is held, and the position that speaks.
        said = held = row = 0

        def read(last: int | None) -> bool:
            nonlocal drafted, said, held, row
            if cancelled is not None and cancelled():
                return False
            if last is None:
                self._reused = reusable(self._held, prompt_ids) if self._reuses else 0
                self.forget()
                *before, new = self._unread(prompt_ids)
                for ids in before:
                    self._run(self._greedy if greedy else self._sampled, ids)
                    if cancelled is not None and cancelled():
                        return False
            elif said < len(drafted) and last == drafted[said]:
                said += 1
                row += 1
                if said <= held:
                    return True
                new = [last]
            else:
                if drafted:
                    del self._held[len(self._held) - held + said :]
                    drafted, said, held = (), 0, 0
                new = [last]
            more = drafted[said : said + (_MOST_DRAFTED if said else _FIRST_DRAFTED)]
            self._run(self._keeping(len(more) + 1) if greedy else self._sampled, [*new, *more])
            held, row = said + len(more), 0
            return True

        return steps_of(
            read,
            lambda: self._next.likeliest(row),
            self._next.of_all,
            end_ids=self._end_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            top=top,
        )

    def forget(self) -> None:
        """See `Runtime.forget`."""
        del self._held[self._reused :]

    def settle(self) -> None:
        """See `Runtime.settle`."""
        drop_read(self._program)

    def _keeping(self, kept: int) -> ort.IOBinding:
        """The binding that says so many next tokens."""
        found = self._drafted.get(kept)
        if found is None:
            found = bind(self._session, self._cache, self._next, with_logits=False, kept=kept)
            self._drafted[kept] = found
        return found

    def _unread(self, prompt_ids: Sequence[int]) -> list[list[int]]:
        """What of a prompt is not held, in chunks."""
        starts = range(len(self._held), len(prompt_ids), CHUNK_TOKENS)
        return [list(prompt_ids[at : at + CHUNK_TOKENS]) for at in starts]

    def _run(self, binding: ort.IOBinding, new: list[int]) -> None:
        count = len(new)
        if count == 1:
            self._ids[0, 0] = new[0]  # a slice takes as long as what follows
        else:
            self._ids[0, :count] = new
        binding.bind_ortvalue_input(INPUT_IDS, self._chunks.of(count))
        binding.bind_ortvalue_input(ATTENTION_MASK, self._masks.of(len(self._held) + count))
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # onnxruntime raises many kinds, all its own
            raise ArtifactError(f"{self._program}: {str(error).splitlines()[0]}") from error
        self._held += new
        self.tokens_run += count

    def _allocate(self) -> dict[str, ort.OrtValue]:
        """A buffer for the keys or values of each layer, `(1, kv_heads, window, head_dim)`."""
        model = self._model
        shape = (1, model.kv_heads, model.window, model.head_dim)
        return {
            name: ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=np.float32))
            for name in self._past_names
        }
