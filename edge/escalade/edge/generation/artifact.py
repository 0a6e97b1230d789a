"""An opened artifact: text in, scored tokens out, or a label; knows no rule, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from escalade.edge.artifact import Manifest, Tokenizers
from escalade.edge.deferral import DeferralRule, KernelsChoice
from escalade.edge.errors import ArtifactError
from escalade.edge.generation.generation import Generation, StopWhen
from escalade.edge.generation.golden import GoldenAnswers, tolerance_of
from escalade.edge.generation.opening import opened
from escalade.edge.generation.texts import Classes, Reading, TokenTexts
from escalade.edge.runtimes import Runtime, Sampling, Step


class Artifact:
    """A verified artifact with its program loaded and its tokenizer ready.

    Several may be open at once, and take turns as they like. One artifact generates one
    response at a time: beginning another ends the one before, which then says `cancelled`.
    It belongs to one thread; only `cancelled` may look at what other threads do.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        runtime: Runtime,
        tokenizer: Tokenizer | None,
        rule: DeferralRule,
        chat_template: str | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        #: As the manifest and, for a router, its file said when both were verified.
        self.rule = rule
        #: Jinja; None where the model has none. See `escalade.edge.chat`.
        self.chat_template = chat_template
        self._runtime = runtime
        entry = manifest.classifier
        self._classes = None if entry is None else Classes(entry, manifest, tokenizer)
        named = tokenizer if self._classes is None else self._classes.names
        assert named is not None  # noqa: S101 - only a linear classifier has no tokenizer
        # What it reads with, and what it answers in.
        self._tokenizer, self._names = tokenizer or named, named
        self._reading = Reading(manifest.model, self._tokenizer, self._classes)
        self._turn = 0

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        threads: int = 0,
        max_memory: int | None = None,
        trusted_key: Path | None = None,
        tokenizers: Tokenizers | None = None,
        kernels: KernelsChoice | None = None,
    ) -> Artifact:
        """Verify every file, load the program and hold it against a golden prompt.

        Args:
            folder: what `escalade export` wrote.
            threads: that compute, at most 256; 0 takes the physical cores, at most 4.
            max_memory: bytes that the model may take, see
                `escalade.edge.artifact.memory_needed`; None sets no bound.
            trusted_key: public key (PEM) by which the manifest must be signed; None asks for
                no signature.
            tokenizers: of models that are open already, to be shared; one that is not is added.
            kernels: to calibrate with; None takes those that the threshold is of.

        Raises:
            ArtifactError: a file is missing or altered, the program cannot be loaded,
                `threads` is out of range, or it needs more than `max_memory`; that is said
                before anything is loaded.
            SignatureError: it is not signed by the trusted key.
            ParityError: it does not give the golden answer.
        """
        artifact = cls(
            *opened(
                folder,
                threads=threads,
                max_memory=max_memory,
                trusted_key=trusted_key,
                tokenizers=tokenizers,
                kernels=kernels,
            )
        )
        if artifact.manifest.golden:
            # The surest answer: a near tie may fall otherwise on another processor.
            artifact.golden.check(min(artifact.manifest.golden, key=lambda entry: entry.nll))
            artifact._runtime.settle()
        return artifact

    def encode(self, prompt: str, *, special_tokens: bool = True) -> list[int]:
        """Prompt ids.

        A classifier reads as much of a long text as its window takes, as transformers truncates; a
        linear one gives buckets, and none for a text without a word.

        Args:
            prompt: as the user typed it, or as a chat template wrote it.
            special_tokens: add those the model expects; a chat template has written its own.

        Raises:
            PromptError: it is empty, no text, or leaves no room for an answer in the window.
        """
        return self._reading.encode(prompt, special_tokens=special_tokens)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of generated tokens, special tokens left out."""
        text: str = self._names.decode(list(token_ids), skip_special_tokens=True)
        return text

    @cached_property
    def token_texts(self) -> TokenTexts:
        """What each token that it answers with adds to a text."""
        return TokenTexts(self._names)

    def text_of(self, steps: Sequence[Step]) -> str:
        """The text of a response: its tokens but for the end-of-sequence token; or its label."""
        whole = self._classes is not None
        return self.decode([step.token_id for step in steps if whole or not step.ended])

    @property
    def classifies(self) -> bool:
        """Whether it answers every text with a label, and nothing else."""
        return self._classes is not None

    def classes_of(self, step: Step) -> dict[str, float]:
        """Log-probabilities by label; of a model that generates none."""
        labels = () if self._classes is None else self._classes.labels
        return dict(zip(labels, step.classes, strict=True))

    def classify(self, text: str) -> dict[str, float]:
        """The log-probability of each label of a classifier.

        Raises:
            PromptError: the text is empty.
            ArtifactError: it is no classifier.
        """
        if self._classes is None:
            raise ArtifactError(f"{self.folder}: not a classifier")
        return self.classes_of(self.generate(self.encode(text))[0])

    def check_ids(self, token_ids: Sequence[int]) -> None:
        """Check that the model knows them.

        Raises:
            PromptError: one is not in the vocabulary.
        """
        self._reading.check_ids(token_ids)

    def room_for(self, prompt_ids: Sequence[int], max_new_tokens: int | None = None) -> int:
        """How many tokens a response may have: those asked for, as far as the window reaches.

        None asks for the manifest's `max_new_tokens`. A classifier's has one, whatever is asked.

        Raises:
            PromptError: none: the prompt is empty or fills the window.
            ValueError: `max_new_tokens` is below 1.
        """
        return self._reading.room_for(prompt_ids, max_new_tokens)

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int | None = None,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        stop: str | Sequence[str] = (),
        cancelled: Callable[[], bool] | None = None,
        stop_when: StopWhen | None = None,
        draft: Sequence[int] = (),
    ) -> Generation:
        """A response, piece by piece: a `Generation` of what the runtime yields.

        It has `room_for` so many tokens, and each step `top` of the likeliest. `cancelled` may be
        the `is_set` of an event that another thread sets. `draft` is what another model of this
        tokenizer said: see `Runtime.generate`. A classifier's is its label: nothing is drawn, and
        nothing cuts it.

        Raises:
            PromptError: the prompt is empty or fills the window.
            ValueError: `max_new_tokens` is below 1 or a stop text is empty.
        """
        longest = self.room_for(prompt_ids, max_new_tokens)
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        steps = self._steps(prompt_ids, longest, sampling, cancelled, top, draft)
        if self._classes is not None:
            return Generation(steps, self._names, longest, classifies=True)
        return Generation(steps, self._names, longest, stop=stops, stop_when=stop_when)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int | None = None,
        *,
        sampling: Sampling | None = None,
    ) -> list[Step]:
        """A whole response, the end-of-sequence token included; see `stream`."""
        longest = self.room_for(prompt_ids, max_new_tokens)
        return list(self._steps(prompt_ids, longest, sampling, None))

    def _steps(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: Sampling | None,
        cancelled: Callable[[], bool] | None,
        top: int = 0,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        self.check_ids(prompt_ids)
        if draft and max(draft) >= self.manifest.model.vocabulary_size:
            draft = ()  # one tokenizer, of which this model knows fewer tokens
        self._turn += 1
        turn = self._turn

        def over() -> bool:
            return self._turn != turn or (cancelled is not None and cancelled())

        return self._runtime.generate(
            prompt_ids, max_new_tokens, sampling=sampling, top=top, cancelled=over, draft=draft
        )

    @property
    def reads_drafts(self) -> bool:
        """Whether it answers sooner where a draft is right; see `Runtime`."""
        return self._runtime.reads_drafts

    def forget(self) -> None:
        """Forget the last prompt, so that the same takes as long again; see `Runtime`."""
        self._runtime.forget()

    @property
    def golden(self) -> GoldenAnswers:
        """Holds the program against the answers that its manifest says it gives."""
        return GoldenAnswers(self.folder, self.manifest, self.generate)

    @property
    def nll_tolerance(self) -> float:
        """By how much equation 5 of one answer may differ on another machine."""
        return tolerance_of(self.manifest)

    @property
    def longest_token_bytes(self) -> int:
        """See `escalade.v1.prompt_size`."""
        return self._reading.longest_token_bytes
