"""An opened sentence encoder: how alike two texts are; knows no rule, no network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from escalade.edge.artifact import Manifest, Tokenizers
from escalade.edge.errors import ArtifactError, ParityError
from escalade.edge.generation.golden import tolerance_of
from escalade.edge.generation.opening import checked_folder
from escalade.edge.generation.texts import vocabulary_of
from escalade.edge.runtimes import open_sentence_encoder, threads_of
from escalade.v1.prompt_size import longest_token_bytes, most_prompt_bytes

# Texts of a tier of 16, of some queries that are answered side by side.
_TEXTS = 64


class SentenceEncoder:
    """A verified artifact whose program makes of a text a vector of length 1.

    Several threads may ask it at once.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, tokenizer: Tokenizer, *, threads: int
    ) -> None:
        """Load its program; see `open`.

        Args:
            folder: of the artifact, checked.
            manifest: of the same, of a sentence encoder.
            tokenizer: its own; from now on no text has more tokens than the window.
            threads: that compute.
        """
        assert manifest.embedding  # noqa: S101 - `open` has looked
        window, numbers = manifest.model.window, manifest.embedding.dimensions
        tokenizer.enable_truncation(window)
        self.folder, self.manifest = folder, manifest
        # What is after it cannot be among as many tokens.
        self._most = most_prompt_bytes(window, longest_token_bytes(vocabulary_of(tokenizer)))
        program = open_sentence_encoder(folder, manifest, threads=threads)

        @lru_cache(_TEXTS)
        def embed(text: str) -> NDArray[np.float32]:
            ids = tokenizer.encode(text).ids
            return program.embed(ids) if ids else np.zeros(numbers, np.float32)

        self._embed = embed

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        threads: int = 0,
        max_memory: int | None = None,
        trusted_key: Path | None = None,
        tokenizers: Tokenizers | None = None,
    ) -> SentenceEncoder:
        """Verify every file, load the program and hold it against what it said at export time.

        Arguments are those of `Artifact.open`.

        Raises:
            ArtifactError, SignatureError, ParityError: see `Artifact.open`; or the artifact is no
                sentence encoder.
        """
        computing = threads_of(threads)
        with checked_folder(
            folder, max_memory=max_memory, trusted_key=trusted_key, tokenizers=tokenizers
        ) as (version, checked):
            if not checked.manifest.embedding or checked.tokenizer is None:
                raise ArtifactError(
                    f"{folder}: not a sentence encoder, whose manifest has an embedding"
                )
            encoder = cls(version, checked.manifest, checked.tokenizer, threads=computing)
        encoder.check_golden()
        return encoder

    def embed(self, text: str) -> NDArray[np.float32]:
        """`(D,)`, of length 1; zeros of a text without tokens. Texts are cut to the window."""
        return self._embed(text[: self._most])

    def similarity(self, one: str, other: str) -> float:
        """The cosine of two texts, in [-1, 1]."""
        return float(np.dot(self.embed(one), self.embed(other)))

    def check_golden(self) -> None:
        """Hold the program against what it said of golden texts.

        Raises:
            ParityError: a cosine is further off than kernels explain.
        """
        assert self.manifest.embedding  # noqa: S101 - `open` has looked
        tolerance = tolerance_of(self.manifest)
        for golden in self.manifest.embedding.golden:
            found = self.similarity(golden.first, golden.second)
            if not abs(found - golden.cosine) <= tolerance:
                raise ParityError(
                    f"{self.folder}: golden texts {golden.first[:80]!r} and {golden.second[:80]!r}"
                    f" gave cosine {found:.4f}, the manifest says {golden.cosine:.4f}"
                )
