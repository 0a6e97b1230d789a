"""Asks the large model one query; knows no artifact, no rule.

A query that fails in a way that may pass is asked again with the same request id: the
server computes a repeated id once.
"""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import NamedTuple

from escalade.edge.errors import CloudError
from escalade.edge.trace import ModelInfo
from escalade.edge.wire.connection import Clock, Connection, SystemClock
from escalade.v1 import cascade_pb2

# The clock is part of what a client is made of.
__all__ = ["Clock", "CloudAnswer", "CloudClient", "SystemClock"]


class CloudAnswer(NamedTuple):
    """What the large model said and what the call cost."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    attempts: int
    round_trip_s: float
    server_s: float
    bytes_up: int
    draft_bytes: int
    bytes_down: int


class CloudClient:
    """The cloud tier of the cascade, seen from the device."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = 10.0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open the channel, see `Connection`; `deadline_s` is for one query.

        Raises:
            CloudError: see `Connection`.
        """
        self.address = address
        self._connection = Connection(
            address,
            deadline_s=deadline_s,
            ca_cert=ca_cert,
            plaintext=plaintext,
            clock=clock,
            rng=rng,
        )
        self._clock = self._connection.clock
        self._stub = self._connection.stub

    def model_info(self) -> ModelInfo:
        """Who is serving.

        Raises:
            CloudError: the cloud does not answer.
        """
        request = cascade_pb2.GetModelInfoRequest()
        response, _ = self._connection.call(
            lambda timeout: self._stub.GetModelInfo(request, timeout=timeout)
        )
        if not response.model.name or response.parameter_count < 1:
            raise CloudError("BAD_ANSWER", f"{self.address}: GetModelInfo names no model")
        return ModelInfo(name=response.model.name, parameters=response.parameter_count)

    def generate(
        self,
        prompt: cascade_pb2.Prompt,
        draft: cascade_pb2.Draft | None,
    ) -> CloudAnswer:
        """Ask the large model one query.

        Raises:
            CloudError: it refused, or did not answer within the deadline.
        """
        request = cascade_pb2.GenerateRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            draft=draft,
        )
        bare = cascade_pb2.GenerateRequest()
        bare.CopyFrom(request)
        bare.ClearField("draft")
        started = self._clock.now_s()
        response, attempts = self._connection.call(
            lambda timeout: self._stub.Generate(request, timeout=timeout)
        )
        round_trip_s = self._clock.now_s() - started
        if response.request_id != request.request_id or not response.stop_reason:
            raise CloudError("BAD_ANSWER", f"{self.address}: the answer is not to this question")
        return CloudAnswer(
            text=response.text,
            prompt_tokens=response.usage.prompt_tokens,
            generated_tokens=response.usage.generated_tokens,
            attempts=attempts,
            round_trip_s=round_trip_s,
            server_s=response.timing.queue_s + response.timing.compute_s,
            bytes_up=request.ByteSize(),
            draft_bytes=request.ByteSize() - bare.ByteSize(),
            bytes_down=response.ByteSize(),
        )

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()
