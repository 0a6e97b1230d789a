"""An opened artifact: text in, scored tokens out; knows no rule, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from escalade.edge.errors import ArtifactError, ParityError, PromptError
from escalade.edge.manifest import TOKENIZER_NAME, GoldenEntry, Manifest, read_manifest
from escalade.edge.rules import mean_nll
from escalade.edge.runtimes.base import Runtime, Step, open_runtime

# Two machines' float32 kernels differ in the last bits, int8 kernels in more. A score off by more
# than this would move queries across the threshold.
_GOLDEN_NLL_TOLERANCE = 0.02


class Artifact:
    """A verified artifact with its program loaded and its tokenizer ready."""

    def __init__(
        self, folder: Path, manifest: Manifest, runtime: Runtime, tokenizer: Tokenizer
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._runtime = runtime
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, folder: Path, *, threads: int = 0) -> Artifact:
        """Verify every file, load the program and hold it against a golden prompt.

        Args:
            folder: what `escalade export` wrote.
            threads: of one operator; 0 leaves the choice to the runtime.

        Raises:
            ArtifactError: a file is missing or altered, or the program cannot be loaded.
            ParityError: it does not give the golden answer.
        """
        manifest = read_manifest(folder)
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"{folder / TOKENIZER_NAME}: cannot be read: {error}") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        artifact = cls(folder, manifest, open_runtime(folder, manifest, threads=threads), tokenizer)
        if manifest.golden:
            artifact.check_golden(min(manifest.golden, key=lambda entry: len(entry.token_ids)))
        return artifact

    def encode(self, prompt: str) -> list[int]:
        """Prompt ids, with the special tokens the model expects.

        Raises:
            PromptError: it is empty, or leaves no room for an answer in the window.
        """
        if not prompt.strip():
            raise PromptError("the prompt is empty; at least 1 character is needed")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise PromptError(f"the prompt is not valid Unicode text: {error}") from error
        ids: list[int] = self._tokenizer.encode(prompt).ids
        longest = self.manifest.model.window - 1
        if not 1 <= len(ids) <= longest:
            raise PromptError(
                f"the prompt has {len(ids)} tokens; this model takes 1 to {longest}"
                f" (window {self.manifest.model.window})"
            )
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of generated tokens, special tokens left out."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text

    def room_for(self, prompt_ids: Sequence[int]) -> int:
        """How many tokens a response to this prompt may have."""
        model = self.manifest.model
        return min(model.max_new_tokens, model.window - len(prompt_ids))

    def generate(self, prompt_ids: Sequence[int]) -> list[Step]:
        """The greedy response, the end-of-sequence token included."""
        return list(self._runtime.generate(prompt_ids, self.room_for(prompt_ids)))

    def check_golden(self, golden: GoldenEntry) -> None:
        """Hold the program against one golden answer.

        Raises:
            ParityError: other tokens, or an NLL further off than kernels explain.
        """
        steps = self.generate(golden.prompt_ids)
        tokens = [step.token_id for step in steps]
        if tokens != golden.token_ids:
            raise ParityError(
                f"{self.folder}: golden prompt {golden.prompt!r} gave tokens {tokens},"
                f" the manifest says {golden.token_ids}"
            )
        nll = mean_nll([step.logprob for step in steps])
        if not abs(nll - golden.nll) <= _GOLDEN_NLL_TOLERANCE:
            raise ParityError(
                f"{self.folder}: golden prompt {golden.prompt!r} gave NLL {nll:.4f}, the manifest"
                f" says {golden.nll:.4f} (tolerance {_GOLDEN_NLL_TOLERANCE})"
            )
