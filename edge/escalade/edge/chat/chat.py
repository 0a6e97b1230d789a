"""Conversations with an artifact: messages in, prompts and answers out; knows no network."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from escalade.edge.chat.messages import Message, Now
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Artifact, Delta
from escalade.edge.runtimes import Sampling

if TYPE_CHECKING:
    from escalade.edge.chat.template import ChatTemplate


class ChatPrompt:
    """An artifact's chat template, ready to turn conversations into prompts."""

    def __init__(self, artifact: Artifact, *, now: Now = datetime.datetime.now) -> None:
        """Compile the template.

        Args:
            artifact: opened.
            now: the date that some templates write into the prompt.

        Raises:
            ArtifactError: the artifact has no template or a bad one, or jinja2 is missing.
        """
        entry = artifact.manifest.model.chat
        if entry is None or artifact.chat_template is None:
            raise ArtifactError(f"{artifact.folder}: the model has no chat template")
        name = str(artifact.folder / entry.template)
        self._template = _compiled(artifact.chat_template, name, now)
        self._artifact = artifact
        named = {"bos_token": entry.bos_token, "eos_token": entry.eos_token}
        before = {name: token for name, token in named.items() if token}
        self._special_tokens = {**before, **(entry.special_tokens or {})}

    def text(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """The prompt as the template writes it; see `ChatTemplate.render`."""
        return self._template.render(
            messages,
            special_tokens=self._special_tokens,
            add_generation_prompt=add_generation_prompt,
        )

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt's ids, none added: a template writes its special tokens itself.

        A message that spells a special token has that token, as with transformers.

        Raises:
            PromptError: the template refuses the conversation, or it leaves no room for an
                answer in the window.
            ArtifactError: the template is at fault.
        """
        return self._artifact.encode(self.text(messages), special_tokens=False)


class Chat:
    """A conversation that remembers.

    Each turn's prompt begins with the turns before it, whose keys and values the runtime
    still holds: only what is new is read.

    Example:
        >>> chat = Chat(Artifact.open(Path("artifact")), system="Answer in one word.")
        >>> for piece in chat.stream("What barks?"):
        ...     print(piece.text, end="")
    """

    def __init__(
        self, artifact: Artifact, *, system: str | None = None, now: Now = datetime.datetime.now
    ) -> None:
        """Begin; arguments and errors are those of `ChatPrompt`, `system` is the first message."""
        self._artifact = artifact
        self._prompt = ChatPrompt(artifact, now=now)
        #: What was said. Delete the oldest turns where the window gets too small for all.
        self.messages: list[Message] = []
        if system is not None:
            self.messages.append({"role": "system", "content": system})

    def stream(
        self,
        text: str,
        max_new_tokens: int | None = None,
        *,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] = (),
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[Delta]:
        """Say something and get the answer, piece by piece.

        The question and as much of the answer as was given join the messages when the
        iterator ends or is closed. All but `text` is as `Artifact.stream` takes it.

        Raises:
            PromptError: the conversation is empty, too long or not text; nothing joins the
                messages then.
            ArtifactError: the template is at fault.
            ValueError: `max_new_tokens` is below 1 or a stop text is empty.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        generation = self._artifact.stream(
            self._prompt.encode(asked),
            max_new_tokens,
            sampling=sampling,
            stop=stop,
            cancelled=cancelled,
        )

        def pieces() -> Iterator[Delta]:
            try:
                yield from generation
            finally:
                self.messages = [*asked, {"role": "assistant", "content": generation.text}]

        return pieces()

    def say(self, text: str, max_new_tokens: int | None = None) -> str:
        """Say something and get the whole answer; see `stream`."""
        return "".join(piece.text for piece in self.stream(text, max_new_tokens))


def _compiled(source: str, name: str, now: Now) -> ChatTemplate:
    try:
        from escalade.edge.chat.template import ChatTemplate
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"chat templates need {error.name}: pip install 'escalade[chat]'"
        ) from error
    return ChatTemplate(source, name, now=now)
