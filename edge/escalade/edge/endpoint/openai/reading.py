"""Reads the body of a request, and says what is wrong with it as OpenAI does; asks no model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from escalade.edge.base import explain, nearest
from escalade.edge.endpoint.openai.fields import (
    REFUSED_OF_CHAT,
    REFUSED_OF_TEXT,
    WITHOUT_EFFECT,
    Body,
    ChatBody,
    Refused,
    TextBody,
)
from escalade.edge.errors import RefusedError

_Kind = TypeVar("_Kind", bound=Body)

_MISSING = re.compile(r"Object missing required field `(\w+)`")
_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
# Of a name that nobody knows, in a message.
_SHOWN = 64


def read_chat(raw: bytes) -> ChatBody:
    """A body of `/v1/chat/completions`.

    Raises:
        RefusedError: it is no JSON object, or a field is missing, unknown, of a wrong type, out of
            its range, or asks for what cannot be given.
    """
    return _read(raw, ChatBody, REFUSED_OF_CHAT)


def read_text(raw: bytes) -> TextBody:
    """A body of `/v1/completions`; see `read_chat`."""
    return _read(raw, TextBody, REFUSED_OF_TEXT)


def _read(raw: bytes, kind: type[_Kind], refused: Mapping[str, Refused]) -> _Kind:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        message = f"We could not parse the JSON body of your request: {said}"
        raise RefusedError(400, "invalid_json", message) from error
    if not isinstance(found, dict):
        message = f"The body must be a JSON object, got {type(found).__name__}"
        raise RefusedError(400, "invalid_type", message)
    kept: dict[str, object] = {}
    known = kind.__struct_fields__
    for name, value in found.items():
        if name in known:
            kept[name] = value
        elif value is None or name in WITHOUT_EFFECT:
            _check_known(name, known, refused)
        elif name in refused:
            _check_neutral(name, value, refused[name])
        else:
            raise _unknown(name, known, refused)
    try:
        return msgspec.convert(kept, kind)
    except msgspec.ValidationError as error:
        raise _said(error, kept, kind) from error


def _check_neutral(name: str, value: object, refused: Refused) -> None:
    # 0 and False are equal, and no list of values has both.
    if not any(value == neutral for neutral in refused.neutral):
        raise unsupported(name, refused.why)


def unsupported(name: str, why: str) -> RefusedError:
    """What is said of a field that asks for what cannot be given."""
    message = f"Unsupported parameter: '{name}' is not supported by this endpoint: {why}."
    return RefusedError(400, "unsupported_parameter", message, param=name)


def _check_known(name: str, known: tuple[str, ...], refused: Mapping[str, Refused]) -> None:
    if name not in WITHOUT_EFFECT and name not in refused:
        raise _unknown(name, known, refused)


def _unknown(name: str, known: tuple[str, ...], refused: Mapping[str, Refused]) -> RefusedError:
    shown = name[:_SHOWN]
    hint = nearest(shown, [*known, *refused])
    message = f"Unknown parameter: {shown!r}{hint}"
    return RefusedError(400, "unknown_parameter", message, param=shown)


def _said(error: msgspec.ValidationError, raw: object, kind: type[Body]) -> RefusedError:
    told = str(error)
    place = _PLACE.search(told)
    param = place[1] if place is not None else None
    if missing := _MISSING.search(told):
        name = missing[1] if not param else f"{param}.{missing[1]}"
        message = f"Missing required parameter: '{name}'"
        return RefusedError(400, "missing_required_parameter", message, param=name)
    if unknown := _UNKNOWN.search(told):
        name = unknown[1][:_SHOWN] if not param else f"{param}.{unknown[1][:_SHOWN]}"
        return RefusedError(400, "unknown_parameter", f"Unknown parameter: '{name}'", param=name)
    if wrong := _TYPE.match(told):
        message = f"Invalid type for '{param}': expected {wrong[1]}, got {wrong[2]}"
        return RefusedError(400, "invalid_type", message, param=param)
    return RefusedError(400, "invalid_value", explain(error, raw, kind), param=param)
