"""Renders a conversation with a model's Jinja template, as transformers does; knows no model.

The one place that imports jinja2 (the extra `chat`). What a template finds here is what
`apply_chat_template` of transformers gives it, so that the two write the same prompt.

A template comes with the artifact: it is somebody else's program. The sandbox keeps it from
everything but its arguments, and bounds the time and memory that it takes (`metering`).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import Namespace

from escalade.edge.chat.costs import TooMuchError
from escalade.edge.chat.messages import Message, Now
from escalade.edge.chat.metering import MeteredEnvironment
from escalade.edge.errors import ArtifactError, PromptError

# Of what a template, or an error in it, may say to a user.
_LONGEST_MESSAGE = 300


class ChatTemplate:
    """A compiled template."""

    def __init__(self, source: str, name: str, *, now: Now = datetime.datetime.now) -> None:
        """Compile a template.

        Args:
            source: Jinja.
            name: of the template, for messages.
            now: what `strftime_now` formats.

        Raises:
            ArtifactError: it is not a Jinja template.
        """
        environment = MeteredEnvironment([_GenerationBlock, loopcontrols])
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda format: now().strftime(format)
        environment.globals["dict"] = _Dict()
        environment.globals["namespace"] = _Namespace
        environment.meter()
        self._name = name
        self._environment = environment
        try:
            self._template = environment.from_string(source)
        # jinja2 writes Python, which has bounds of its own: SyntaxError where 20 blocks are nested,
        # MemoryError and RecursionError where more is.
        except Exception as error:
            raise ArtifactError(f"{name}: not a Jinja template: {_line(error)}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        special_tokens: Mapping[str, str],
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt that a conversation makes.

        Args:
            messages: at least 1, in order; each with `role` and `content`.
            special_tokens: by the names that templates use: `bos_token`, `eos_token`.
            add_generation_prompt: end with what begins the assistant's answer.

        Raises:
            PromptError: a message has no role or content, or the template refuses the
                conversation: roles that do not alternate, for example.
            ArtifactError: the template is at fault.
        """
        if not messages:
            raise PromptError("a conversation needs at least 1 message")
        plain = [_plain(number, message) for number, message in enumerate(messages)]
        self._environment.refill()
        try:
            return self._template.render(
                {
                    **special_tokens,
                    "messages": plain,
                    "tools": None,
                    "documents": None,
                    "add_generation_prompt": add_generation_prompt,
                }
            )
        except PromptError:
            raise
        except TooMuchError as error:
            raise ArtifactError(f"{self._name}: {error}") from error
        except Exception as error:  # a template may divide by zero, or whatever else it likes
            raise ArtifactError(f"{self._name}: {type(error).__name__}: {_line(error)}") from error


def _plain(number: int, message: Message) -> dict[str, str]:
    """A message of nothing but text: a template finds no method of ours to call."""
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            raise PromptError(f"message {number} of the conversation needs a {key}, as text")
    return {str(key): str(value) for key, value in message.items()}


def _refuse(message: object) -> str:
    said = str(message)[:_LONGEST_MESSAGE]
    raise PromptError(f"the chat template refuses the conversation: {said}")


def _line(error: Exception) -> str:
    """What an error says, in one line: it may quote the template."""
    return " ".join(str(error).split())[:_LONGEST_MESSAGE]


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter would escape HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


class _GenerationBlock(Extension):
    """`{% generation %}`: marks the assistant's text for training; here it is only rendered."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Dict:
    """`dict(...)`, and nothing else that the class would offer."""

    def __call__(self, *args: object, **kwargs: object) -> dict[str, object]:
        return dict(*args, **kwargs)


class _Namespace(Namespace):
    """Jinja's namespace without names that reach into Python."""

    def __init__(*args: object, **kwargs: object) -> None:  # so that `self=` is a name too
        self, *rest = args
        assert isinstance(self, _Namespace)  # noqa: S101 - Python calls it
        names: dict[str, object] = dict(*rest, **kwargs)
        for name in names:
            _check_name(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: object) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:  # not all that it holds
        return "<Namespace>"


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a namespace's names must not begin with _, got {name!r}")
