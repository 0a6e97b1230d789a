"""What the service asks of whatever computes answers; knows no backend, no gRPC, no torch.

A backend is asked from one event loop and must not block it: what computes or waits for long
belongs into a thread or process of its own. The service has checked every request against
`info` and bounded its bytes, computes a repeated request once, and counts what is under way; a
backend bounds its own queue (`Places`), and shares it between clients by the ticket's claim.

How a request ends before its answer is there:

- Its client leaves, or the server stops waiting for it while it shuts down, or its place goes to
  another client: the ticket is cancelled, and `asyncio.CancelledError` comes up where `generate`
  awaits something. Threads see only the ticket, and should look at it often.
- Its deadline passes: the ticket says so. Stop soon, and either give what there is with that
  stop reason or let `Ticket.check` raise; the service refuses half an answer.
- The backend refuses it: raise a `RequestError`. `escalade.cloud.errors` lists them, and
  `escalade.cloud.rpcs.status` says how each travels. Any other exception is an internal error
  that tells the client nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from escalade.cloud.backends.query import Delta, Query, ScoredBatch, ScoreQuery, Verdict
from escalade.cloud.backends.ticket import Clock, Ticket
from escalade.cloud.errors import NotSupportedError, PromptEmptyError, PromptTooLongError
from escalade.v1 import cascade_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """Who computes, and within which limits."""

    #: Name, revision and tokenizer. Token ids of other tokenizers are refused.
    model: pb.ModelIdentity
    #: The engine's name and version, e.g. `transformers 5.23.0`.
    engine: str
    parameter_count: int
    vocabulary_size: int
    #: Longest prompt plus response, in tokens.
    context_length: int
    end_of_sequence_ids: tuple[int, ...]
    #: Default and upper bound of `Query.max_new_tokens`.
    max_new_tokens: int
    #: Of the tokenizer, see `escalade.v1.prompt_size`: with the window it bounds a text's bytes.
    longest_token_bytes: int
    #: Upper bound of `Backend.score`'s top_k.
    max_top_k: int = 0
    #: Upper bound of `Query.top_logprobs`.
    max_top_logprobs: int = 0
    #: Queries that may wait before new ones are refused.
    queue_capacity: int = 0
    #: The RPCs that it offers, and whether it draws tokens; what is not among them is refused
    #: before it reaches it.
    capabilities: tuple[pb.Capability, ...] = ()
    #: The tiers that a query may go through, in order; names and models as in `Answer.reports`.
    tiers: tuple[pb.TierDescription, ...] = ()

    def check_prompt_length(self, count: int, field: str) -> None:
        """Refuse an empty prompt and one that leaves no room for a single token.

        Args:
            count: tokens.
            field: path of the prompt in the request.

        Raises:
            PromptEmptyError: `count` is 0.
            PromptTooLongError: `count` is not below the context length.
        """
        if count == 0:
            raise PromptEmptyError(field, "must hold at least 1 token, got 0")
        if count >= self.context_length:
            raise PromptTooLongError(
                field, f"must hold 1..{self.context_length - 1} tokens, got {count}"
            )


class Gauge(NamedTuple):
    """A number that a backend has just now, for whoever watches it."""

    #: In words and underscores, a unit last: `queue_length`, `kv_pages_used`.
    name: str
    #: A sentence.
    meaning: str
    value: float


def queue_length(count: int) -> Gauge:
    """The gauge of whoever has a queue."""
    return Gauge("queue_length", "Requests that were taken and wait for their turn.", count)


class Backend(Protocol):
    """Computes responses, and scores given ones.

    Subclass it: `score` and `verify` refuse, and there are no gauges.
    """

    async def load(self) -> None:
        """Make ready; called once, after the port is bound and before everything else.

        Raises:
            StartError: it cannot; the server does not start.
        """
        ...

    def close(self) -> None:
        """Let go of threads and channels; called once, after the last request has ended."""
        ...

    @property
    def info(self) -> BackendInfo:
        """Who computes; constant once loaded, and looked at for every request."""
        ...

    def health(self) -> bool:
        """Whether requests are worth sending; looked at after each. Answers at once.

        A cascade that answers without its cloud is healthy.
        """
        ...

    def gauges(self) -> Iterable[Gauge]:
        """How full it is; always the same names. Asked now and then, from any thread."""
        return ()

    def check_room(self, ticket: Ticket) -> None:
        """Refuse now what `generate` would refuse for want of a place; asked right before it.

        In a flood most are refused, and this way without a task of their own. It may be left out.

        Raises:
            QueueFullError: no place.
        """
        return

    def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        """Answer a query, piece by piece; an async generator does.

        The service takes each delta as it comes, however slow the client: what a slow client
        has not taken yet is put together there. It always iterates to the end, so a place in
        the queue may be held in a `with` block. The last delta has the answer.

        Without a reader (`Query.streamed`) the last delta alone is best. So it is where an
        answer may yet be taken back for a higher tier's: what has been given stays given.

        Args:
            query: prompt as ids or as text. A backend that tokenizes does it here, once it has
                found a place in its queue, and refuses what is too long; see
                `BackendInfo.check_prompt_length`, with the field `prompt.text`.
            ticket: until when; may be extended meanwhile.

        Raises:
            QueueFullError: no place; raise it before any work is done.
            LoopError: `query.via` names this gateway.
            EngineDeadError: it failed.
            RequestError: see the module.
        """
        ...

    def score(
        self, queries: Iterable[ScoreQuery], top_k: int, ticket: Ticket
    ) -> AsyncGenerator[ScoredBatch, None]:
        """Score given responses, in order, in batches of the backend's choice.

        A reader that is slow asks late for the next batch, and so holds the work back.

        Args:
            queries: made when asked for; there may be thousands, and the first takes its time, for
                then all are checked: ask in a thread, with a place taken.
            top_k: 0..`info.max_top_k`, entries of each row.
            ticket: cancelled also when the server begins to shut down; asked before each batch.

        Raises:
            QueueFullError: no place.
            DeadlineError, DrainingError: see `Ticket.check`.
            EngineDeadError: it failed.
        """
        raise NotSupportedError("Score: this backend does not offer it")

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """Hold a draft against the greedy choice, in one forward pass.

        Args:
            query: with a draft of at least one token, which begins the answer.
            ticket: until when.

        Raises:
            NotSupportedError: it is not offered.
            QueueFullError: no place.
            PromptTooLongError: of a prompt in text; ids have been checked.
            RequestError: see the module.
        """
        raise NotSupportedError("Verify: this backend does not offer it")


class BackendFactory(Protocol):
    """Makes a backend that is not loaded yet."""

    def __call__(self, *, queue_capacity: int, clock: Clock) -> Backend:
        """Make it, in the event loop's thread.

        Args:
            queue_capacity: queries that may wait before new ones are refused, at least 1.
            clock: seconds, monotonic; that of the tickets.
        """
        ...
