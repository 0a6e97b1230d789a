"""The messages of a conversation, and prompts, as a query has them; knows no template, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from escalade.edge.chat import Message
from escalade.edge.errors import RefusedError

# OpenAI's newer name for the same, which templates do not know.
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_KNOWN = frozenset({"role", "content", "name"})
_SHOWN = 64

#: What may be completed: a text, or token ids with every special token.
Prompt = str | tuple[int, ...]


def conversation(messages: Sequence[Mapping[str, object]]) -> tuple[Message, ...]:
    """The messages, each with a role and a text.

    Raises:
        RefusedError: there is none; or one has no role that is known, no text, or what is no text.
    """
    if not messages:
        raise RefusedError(
            400, "empty_array", "'messages' must have at least 1 message, got 0", param="messages"
        )
    return tuple(_message(f"messages[{place}]", one) for place, one in enumerate(messages))


def _message(place: str, message: Mapping[str, object]) -> Message:
    role = message.get("role")
    if role in {"tool", "function"}:
        raise _unsupported(f"{place}.role", f"role {role!r}: the models here call no tools")
    if not isinstance(role, str) or role not in _ROLES:
        allowed = ", ".join(_ROLES)
        raise RefusedError(
            400,
            "invalid_value",
            f"{place}.role must be one of {allowed}, got {str(role)[:_SHOWN]!r}",
            param=f"{place}.role",
        )
    for name, value in message.items():
        if name not in _KNOWN and value is not None and value != []:
            raise _unsupported(f"{place}.{name[:_SHOWN]}", "a message has a role, a name and text")
    said = {"role": _ROLES[role], "content": _text(f"{place}.content", message.get("content"))}
    if (known_as := message.get("name")) is not None:
        said["name"] = _string(f"{place}.name", known_as)
    return said


def _text(place: str, content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong_type(place, "a text, or a list of parts that are text", content)
    return "".join(_part(f"{place}[{index}]", part) for index, part in enumerate(content))


def _part(place: str, part: object) -> str:
    if not isinstance(part, dict):
        raise _wrong_type(place, "an object with a type and a text", part)
    kind = part.get("type")
    if kind != "text":
        raise _unsupported(f"{place}.type", f"{str(kind)[:_SHOWN]!r}: models here read text alone")
    return _string(f"{place}.text", part.get("text"))


def prompts(prompt: str | Sequence[object]) -> list[Prompt]:
    """The prompts of one request: a text or ids, or a list of either.

    Raises:
        RefusedError: it is neither, or the list is empty.
    """
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise RefusedError(
            400, "empty_array", "'prompt' must have at least 1 element, got 0", param="prompt"
        )
    if all(_is_id(one) for one in prompt):
        return [_ids("prompt", prompt)]
    found: list[Prompt] = []
    for index, one in enumerate(prompt):
        place = f"prompt[{index}]"
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, list) and one:
            found.append(_ids(place, one))
        else:
            raise _wrong_type(place, "a text or a list of token ids", one)
    return found


def _ids(place: str, ids: Sequence[object]) -> tuple[int, ...]:
    wrong = next((one for one in ids if not _is_id(one)), None)
    if wrong is not None:
        raise _wrong_type(place, "token ids, whole numbers of at least 0", wrong)
    return tuple(one for one in ids if isinstance(one, int))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _string(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(place, "a text", value)
    return value


def _wrong_type(place: str, expected: str, value: object) -> RefusedError:
    got = type(value).__name__ if not isinstance(value, int) else repr(value)[:_SHOWN]
    message = f"Invalid type for '{place}': expected {expected}, got {got}"
    return RefusedError(400, "invalid_type", message, param=place)


def _unsupported(place: str, why: str) -> RefusedError:
    message = f"Unsupported value: '{place}' is not supported by this endpoint: {why}"
    return RefusedError(400, "unsupported_value", message, param=place)
