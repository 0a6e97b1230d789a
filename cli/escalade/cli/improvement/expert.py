"""The expert behind the wire: who it is, and what it says; knows no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.artifact import TOKENIZER_NAME
from escalade.edge.errors import CloudError
from escalade.v1.channel import plaintext_of

if TYPE_CHECKING:
    from escalade.edge.trace import TierAnswer, TraceHeader
    from escalade.training.recipes import TeacherTable

# As teachers have it (`CloudScorer`): nobody waits for an answer.
_DEADLINE_S = 60.0


class Expert:
    """A large model, spoken to in the tokens of the device's."""

    def __init__(self, client: EdgeClient, tokenizer: Tokenizer) -> None:
        self._client, self._tokenizer = client, tokenizer

    @classmethod
    @contextmanager
    def open(cls, artifact: Path, table: TeacherTable) -> Iterator[Expert]:
        """Connect; nobody is asked yet.

        Args:
            artifact: of the device.
            table: with an address.

        Raises:
            EdgeError: either cannot be opened.
        """

        def path(name: str | None) -> Path | None:
            return None if name is None else Path(name)

        options = OpenOptions(
            deadline_s=_DEADLINE_S,
            ca_cert=path(table.ca_cert),
            token_file=path(table.token_file),
            client_cert=path(table.client_cert),
            client_key=path(table.client_key),
            plaintext=plaintext_of(tls=table.tls, plaintext=None),
        )
        tokenizer = Tokenizer.from_file(str(artifact / TOKENIZER_NAME))
        tokenizer.no_truncation()
        with EdgeClient.open(artifact, options, cloud=table.address, calibrated=False) as client:
            yield cls(client, tokenizer)

    def header(self) -> TraceHeader:
        """What a trace that begins now would say of it.

        Raises:
            CloudError: it does not say who it is.
        """
        return self._client.trace_header()

    def ask(self, prompt: str) -> TierAnswer | None:
        """Its answer; None where it refuses the query.

        Raises:
            CloudError: it is not there, or not able to answer.
        """
        try:
            return self._client.ask_last(prompt)
        except CloudError as error:
            if error.cause != "query":
                raise
            return None

    def tokens_of(self, text: str) -> int:
        """How many tokens it makes of a text, as the device's tokenizer does."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
