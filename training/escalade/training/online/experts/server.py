"""An expert behind the wire: any backend of `escalade serve`; knows no label.

An OpenAI-compatible server is one too: `escalade serve openai:URL` makes it a backend.
"""

from __future__ import annotations

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.training.errors import RecipeError
from escalade.training.online.experts.expert import ExpertError, Reply
from escalade.training.online.streams import Item
from escalade.v1 import cascade_pb2 as pb

# Stands in a prompt where the item's text goes.
_PLACE = "{text}"


class ServerExpert:
    """See `Expert`. A server that fails several times in a row is left alone for a while."""

    free = False

    def __init__(self, client: CloudClient, *, prompt: str, max_new_tokens: int) -> None:
        """Ask through a client, which is closed with this.

        Args:
            client: the channel.
            prompt: holds `{text}` once.
            max_new_tokens: of an answer, >= 1.

        Raises:
            RecipeError: the prompt has no place for the text, or several.
        """
        if prompt.count(_PLACE) != 1:
            raise RecipeError(f"expert.prompt must hold {_PLACE} once, got {prompt!r}")
        self._client, self._prompt, self._max_new_tokens = client, prompt, max_new_tokens

    def ask(self, item: Item) -> Reply:
        """See `Expert`."""
        request = pb.GenerateRequest(prompt=pb.Prompt(text=self._prompt.replace(_PLACE, item.text)))
        request.stopping.max_new_tokens = self._max_new_tokens
        try:
            answered = self._client.generate(request)
        except CloudError as error:
            raise ExpertError(str(error)) from error
        if answered is None:  # nobody cancels
            raise ExpertError("cancelled")
        response = answered.response
        if response.degraded:
            raise ExpertError(f"{self._client.address}: answered with a lower tier (degraded)")
        model, usage = response.model, response.usage
        return Reply(
            response.text,
            f"{model.name} {model.revision[:12]}".strip(),
            usage.prompt_tokens + usage.generated_tokens or None,
        )

    def close(self) -> None:
        """See `Expert`."""
        self._client.close()
