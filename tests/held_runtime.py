"""A member that a test has hold of: its runtime stops in the middle of a response."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from escalade.edge import Answer
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import Sampling, Step
from escalade.edge.runtimes.base import ReadsNoDraft
from escalade.edge.trace import MemberAnswer

#: Tokens of its first response, after which it waits.
HELD_AFTER = 3


class HeldRuntime(ReadsNoDraft):
    """A runtime that stops after some tokens of its first response until it is let go."""

    def __init__(self, real: Any, *, fails: bool = False) -> None:
        self._real, self._fails, self._first = real, fails, True
        self.begun, self.arrived, self.released, self.left = (threading.Event() for _ in range(4))
        self.ended = threading.Event()

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
        assert cancelled is not None
        self.begun.set()
        steps = self._real.generate(
            prompt_ids, max_new_tokens, sampling=sampling, top=top, cancelled=cancelled, draft=draft
        )
        first, self._first = self._first, False
        for index, step in enumerate(steps):
            if first and index == HELD_AFTER:
                self.arrived.set()
                if self._fails:
                    raise ArtifactError("model.onnx: out of memory")
                for _ in range(3000):  # half a minute: a test that fails must end
                    if cancelled():
                        self.left.set()
                        return
                    if self.released.wait(0.01):
                        break
            if step.ended or index + 1 == max_new_tokens:
                self.ended.set()
            yield step


def finished_beside(run: Any, release: Callable[[], None]) -> Answer | None:
    """The answer of a run that somebody else lets go on, in a thread of its own."""
    letting_go = threading.Thread(target=release)
    letting_go.start()
    answer: Answer | None = run.finish()
    letting_go.join()
    return answer


def members_of(answer: Answer) -> list[MemberAnswer]:
    assert answer.tiers[0] is not None
    return answer.tiers[0].members
