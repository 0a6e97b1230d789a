"""What a tier is: asked a query, it says something, with a score; knows no kind of tier."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from escalade.edge.deferral import Gate
from escalade.edge.generation import Delta, Generation, StopReason
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.query import Query
from escalade.edge.trace import MemberInfo, Place, TierAnswer
from escalade.v1 import cascade_pb2 as pb


class Draft(NamedTuple):
    """What a tier of one model said, sent along to the next."""

    #: Without the end-of-sequence token; none of a classifier.
    ids: Sequence[int]
    logprobs: Sequence[float]
    #: Empty of a classifier, whose draft is a text alone.
    tokenizer_fingerprint: str
    #: None where it was stopped early: the draft is only how the answer begins.
    score: float | None
    threshold: float | None
    rule: str
    text: str = ""


def ids_for(member: Member, draft: Draft | None) -> Sequence[int]:
    """The tokens of a draft, where they are tokens of a member too; else none."""
    if draft is None or not member.fingerprint:
        return ()
    return draft.ids if draft.tokenizer_fingerprint == member.fingerprint else ()


class Call(NamedTuple):
    """A query as it comes to a tier; made for each, so that it has to be made fast."""

    query: Query
    prompts: Prompts
    #: After the tier; None after the last.
    gate: Gate | None
    #: Whether a tier above answers what is deferred.
    can_defer: bool
    #: Seconds since the query came in, without those that the caller took between two deltas.
    elapsed_s: Callable[[], float]
    #: The cascade's clock, for what goes on while the caller holds a delta.
    now_s: Callable[[], float]
    #: Seconds that the tiers above may take over their links, by their own deadlines.
    above_s: float = 0.0
    #: Every member runs to its end, whatever is decided: shadow mode.
    whole: bool = False
    #: Of a trace that is to have what members take with drafts: told the seconds in which they
    #: gave answers for that alone, which are not the query's.
    rehearsed: Callable[[float], None] | None = None
    draft: Draft | None = None
    #: Asked between tokens and between chunks of a prompt; None: it cannot be.
    cancelled: Callable[[], bool] | None = None

    @property
    def reads_drafts(self) -> bool:
        """Whether a model of the tier may read what another said, as its draft.

        Not where log-probabilities decide, whose last bits would move.
        """
        return self.gate is None or not self.gate.reads_logprobs


class Source(NamedTuple):
    """The model whose answer a tier gave, and its tokens, for who sends them on."""

    name: str
    #: sha256 over the weight files.
    revision: str
    tokenizer_fingerprint: str
    #: Without the end-of-sequence token; none of a classifier.
    ids: Sequence[int]
    #: One for each id, and one more where it ended by an end-of-sequence token or a label.
    logprobs: Sequence[float]
    #: Of each of these the likeliest tokens, where the query asked for them and the tier has them.
    top: Sequence[Sequence[tuple[int, float]]] = ()


class Said(NamedTuple):
    """What a tier said to a query."""

    answer: TierAnswer
    #: Whether its gate sends the query on.
    defers: bool
    #: Why the response that stands for the tier ended.
    stop: StopReason
    source: Source
    draft: Draft | None = None
    #: Finishes what was stopped or decided early; None where nothing was.
    resume: Callable[[], Saying] | None = None
    #: Why a tier behind a gateway that was due did not answer; the gateway's best answer stands.
    degraded: str | None = None
    #: What a tier elsewhere reported of itself.
    reports: Sequence[pb.TierReport] = ()


def source_of(
    member: Member,
    ids: Sequence[int],
    logprobs: Sequence[float],
    top: Sequence[Sequence[tuple[int, float]]] = (),
) -> Source:
    """The source of an artifact's answer; see `Source`."""
    model = member.artifact.manifest.model
    return Source(model.name, model.revision, member.fingerprint, ids, logprobs, top)


def classes_of(member: Member, generation: Generation) -> dict[str, float] | msgspec.UnsetType:
    """What a classifier said of all its labels, for a trace; a model that generates has none."""
    if not (member.artifact.classifies and generation.steps):
        return msgspec.UNSET
    return member.artifact.classes_of(generation.steps[-1])


#: Deltas as they come, then what was said; None where it was cancelled.
Saying = Generator[Delta, None, "Said | None"]


class Tier(Protocol):
    """Answers queries: a model on this device, several, or some of another machine."""

    @property
    def name(self) -> str:
        """What cascade files, traces and reports call it."""
        ...

    @property
    def place(self) -> Place:
        """Where it runs."""
        ...

    @property
    def side_by_side(self) -> bool:
        """Whether its members run at the same time."""
        ...

    @property
    def deadline_s(self) -> float:
        """Seconds that one query may take over its link; 0 on this device, which has none."""
        ...

    @property
    def opened(self) -> Sequence[Member]:
        """Its models on this machine; none of a tier elsewhere."""
        ...

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """Its models in the order they are asked, with what they cost.

        Args:
            hold: from now on no other model may answer: a trace's header names these.

        Raises:
            CloudError: it is elsewhere, and does not say who it is.
        """
        ...

    def most_top(self) -> int:
        """How many of the likeliest tokens may come with each token of its answer, see `Query`.

        0: none, and the chosen token's log-probability alone.

        Raises:
            CloudError: it is elsewhere, and does not say.
        """
        ...

    def check(self, prompts: Prompts) -> None:
        """Refuse a query that it could not take, before any work.

        Raises:
            PromptError: it is empty, too long, or cannot be sent.
            ArtifactError: a chat template is missing or at fault.
        """
        ...

    def ask(self, call: Call) -> Saying:
        """Answer a query.

        Deltas are those of the answer that leads, where it runs on this device.

        Raises:
            CloudError: it is elsewhere, and refused or did not answer.
            PromptError, ArtifactError: see `check`.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds open."""
        ...
