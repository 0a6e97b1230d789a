"""Who asks while things fail, and what each request came to; knows no fault."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc

from escalade.edge import EdgeClient
from escalade.edge.base import Clock
from escalade.edge.errors import EdgeError
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc
from faults.history import Event, Outcome, Piece

#: How a request ended: the outcome, its text, why, and what came of a stream.
End = tuple[Outcome, str, str, Sequence[Piece]]
#: Asks a prompt.
Ask = Callable[[str], End]
_DEADLINE_S = 5.0
# Of a reader that is slow: between two messages.
_SLOW_S = 0.3
# Of whoever was not answered, before the next: that nobody is there is said at once, and all
# requests would be over before the server is back.
_BACKOFF_S = 0.5


class Requests:
    """The numbers of requests yet to be made, for all clients together."""

    def __init__(self, count: int, prompts: Sequence[str], seed: int) -> None:
        self._numbers = itertools.count()  # one call of `next` is atomic
        self._prompts = random.Random(seed).choices(prompts, k=count)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Number and prompt, each once among all clients."""
        for number in self._numbers:
            if number >= len(self._prompts):
                return
            yield number, self._prompts[number]


def ask_all(client: str, requests: Requests, ask: Ask, most: int) -> list[Event]:
    """Ask until no request is left, or so many were this client's."""
    history = []
    for number, prompt in requests:
        began_s = time.perf_counter()
        outcome, text, reason, pieces = ask(prompt)
        history.append(
            Event(
                number=number,
                client=client,
                prompt=prompt,
                began_s=began_s,
                ended_s=time.perf_counter(),
                outcome=outcome,
                text=text,
                reason=reason,
                pieces=pieces,
            )
        )
        if len(history) == most:
            break
        if outcome != "answered":
            time.sleep(_BACKOFF_S)
    return history


def device(cascade: Path) -> Ask:
    """A cascade on a device, which sends everything on."""
    client = EdgeClient.open(cascade)

    def ask(prompt: str) -> End:
        try:
            answer = client.ask(prompt)
        except EdgeError as error:
            return "refused", "", str(error), ()
        outcome: Outcome = "degraded" if answer.outcome == "degraded" else "answered"
        return outcome, answer.text, answer.reason or "", ()

    return ask


def thin(address: str, ca_cert: Path, clock: Clock | None = None) -> Ask:
    """A device without a model, whose clock may jump, or who trusts the wrong certificates."""
    client = CloudClient(address, deadline_s=_DEADLINE_S, ca_cert=ca_cert, clock=clock)

    def ask(prompt: str) -> End:
        try:
            answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text=prompt)))
        except EdgeError as error:
            return "refused", "", str(error), ()
        assert answer is not None
        response = answer.response
        if response.degraded:
            why = next((one.reason for one in response.reports if one.reason), "")
            return "degraded", response.text, why, ()
        return "answered", response.text, "", ()

    return ask


def stream(address: str, ca_cert: Path, *, slow: bool = False) -> Ask:
    """Whoever reads an answer while it is made, quickly or not."""
    credentials = grpc.ssl_channel_credentials(ca_cert.read_bytes())
    channel = grpc.secure_channel(address, credentials)
    stub = pb_grpc.CascadeServiceStub(channel)

    def ask(prompt: str) -> End:
        request = pb.GenerateRequest(request_id=uuid.uuid4().hex, prompt=pb.Prompt(text=prompt))
        pieces: list[Piece] = []
        try:
            for message in stub.GenerateStream(
                pb.GenerateStreamRequest(request=request), timeout=2 * _DEADLINE_S
            ):
                ids = message.chunk.token_ids
                if message.HasField("final"):
                    ids = message.final.token_ids[message.token_offset :]
                pieces.append(
                    Piece(sequence=message.sequence, offset=message.token_offset, ids=tuple(ids))
                )
                if message.HasField("final"):
                    return "answered", message.final.text, "", pieces
                if slow:
                    time.sleep(_SLOW_S)
        except grpc.RpcError as error:
            return "refused", "", f"{error.code().name}: {error.details()}", pieces
        return "refused", "", "the stream ended without its last message", pieces

    return ask
