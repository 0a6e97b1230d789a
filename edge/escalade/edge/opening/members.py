"""Opens the artifacts of a cascade's tiers, within one bound of memory; knows no gate.

Those of one tokenizer share it: one of 49,000 tokens takes 20 MB and half a second to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from escalade.edge.artifact import MANIFEST_NAME, Tokenizers, memory_of, memory_of_all
from escalade.edge.base import sha256_of
from escalade.edge.cascade_file import (
    TEMPERATURE,
    CascadeFile,
    MemberTable,
    TierTable,
    artifacts_of,
    encoder_of,
    key_of,
    member_tables,
)
from escalade.edge.errors import CascadeError
from escalade.edge.generation import Artifact, SentenceEncoder
from escalade.edge.opening.options import OpenOptions
from escalade.edge.runtimes import Draw, Sampling, default_threads
from escalade.edge.tiers import Member


class Members:
    """Opens tier after tier what a cascade's file names; each knows how much is left for it."""

    def __init__(
        self, path: Path, content: CascadeFile, options: OpenOptions, *, pinned: bool
    ) -> None:
        """Judge all of them together, before the first is opened.

        Args:
            path: the file.
            content: what it says.
            options: see `OpenOptions`.
            pinned: whether each must be the one that the file names.

        Raises:
            ArtifactError: one cannot be opened, see `Artifact.open`.
            CascadeError: they need more memory than they may take.
        """
        self._path = path
        self._content = content
        self._options = options
        self._pinned = pinned
        self._left: Iterator[int | None] = iter(self._bounds())
        self._tokenizers: Tokenizers = {}

    def open(self, table: TierTable) -> list[Member]:
        """A tier's members; where they run side by side, the threads are divided among them.

        Samples of one artifact are as many members, of one program in memory.

        Raises:
            ArtifactError: see `Artifact.open`.
            CascadeError: one is not the one that the file names.
        """
        threads = self._threads(table)
        draws: list[Draw | None] = [None]
        if table.samples is not None:
            sampling = Sampling(temperature=table.temperature or TEMPERATURE, seed=table.seed)
            draws = [Draw(sampling, place) for place in range(table.samples)]
        return [
            Member(
                artifact,
                prompt_price=entry.prompt_price,
                generated_price=entry.generated_price,
                weight=entry.weight,
                draw=draw,
            )
            for entry in member_tables(table)
            for artifact in [self._open(entry, threads)]
            for draw in draws
        ]

    def encoder(self, table: TierTable) -> SentenceEncoder | None:
        """The sentence encoder of a tier's gate; opened after the tier's members.

        Raises:
            ArtifactError: see `SentenceEncoder.open`.
            CascadeError: it is not the one that the file names.
        """
        entry = encoder_of(table)
        if entry is None:
            return None
        encoder = SentenceEncoder.open(
            self._path.parent / entry.artifact,
            threads=self._options.threads,
            max_memory=next(self._left),
            trusted_key=self._key_of(entry),
            tokenizers=self._tokenizers,
        )
        self._check_pin(entry, encoder.folder)
        return encoder

    def at_once(self, table: TierTable) -> int | None:
        """How many members of a tier side by side the device's threads are enough for."""
        threads = self._threads(table) or default_threads()
        return max(2, default_threads() // threads) if table.side_by_side else None

    def _threads(self, table: TierTable) -> int:
        """That each member of a tier computes with; 0 takes all of the device's."""
        threads = self._options.threads
        if table.side_by_side and not threads:
            return max(1, default_threads() // len(table.members))
        return threads

    def _open(self, entry: MemberTable, threads: int) -> Artifact:
        artifact = Artifact.open(
            self._path.parent / entry.artifact,
            threads=threads,
            max_memory=next(self._left),
            trusted_key=self._key_of(entry),
            tokenizers=self._tokenizers,
        )
        self._check_pin(entry, artifact.folder)
        return artifact

    def _check_pin(self, entry: MemberTable, opened: Path) -> None:
        """Of the folder that was opened: a store's link may lead elsewhere by now."""
        if not self._pinned or entry.manifest_sha256 is None:
            return
        now = sha256_of(opened / MANIFEST_NAME)
        if now != entry.manifest_sha256:
            raise CascadeError(
                f"{self._path}: member {self._path.parent / entry.artifact} was changed: its"
                f" manifest is {now[:12]}, the file was calibrated with"
                f" {entry.manifest_sha256[:12]}; calibrate again"
            )

    def _key_of(self, entry: MemberTable) -> Path | None:
        return key_of(self._path, self._content, entry, self._options.trusted_key)

    def _bounds(self) -> list[int | None]:
        """What each member may take: what the others leave."""
        entries = [entry for table in self._content.tiers for entry in artifacts_of(table)]
        most = self._options.max_memory
        if most is None:
            return [None] * len(entries)
        signed = any(self._key_of(entry) is not None for entry in entries)
        needed = [
            memory_of(
                self._path.parent / entry.artifact, max_memory=most, trusted_key=self._key_of(entry)
            ).total
            for entry in entries
        ]
        total = memory_of_all(needed, signed=signed)
        if total > most:
            each = ", ".join(
                f"{entry.artifact} {memory_of_all([one])}"
                for entry, one in zip(entries, needed, strict=True)
            )
            raise CascadeError(
                f"{self._path}: needs {total} bytes of memory for {len(entries)} models together"
                f" ({each} each alone), may take at most {most}"
            )
        return [most - total + memory_of_all([one], signed=signed) for one in needed]
