"""OpenAI's HTTP API as values: requests in, answers out; knows no socket, asks no model."""

from escalade.edge.endpoint.openai.decision import (
    DECIDED,
    PREFIX,
    decision,
    deferred,
    headers_of,
)
from escalade.edge.endpoint.openai.fields import ChatBody, StreamMode, TextBody
from escalade.edge.endpoint.openai.messages import conversation, prompts
from escalade.edge.endpoint.openai.reading import read_chat, read_text, read_word, unsupported
from escalade.edge.endpoint.openai.replies import Finished, Replies, error_body
from escalade.edge.endpoint.openai.tokens import Token, Tokens, label_token

__all__ = [
    "DECIDED",
    "PREFIX",
    "ChatBody",
    "Finished",
    "Replies",
    "StreamMode",
    "TextBody",
    "Token",
    "Tokens",
    "conversation",
    "decision",
    "deferred",
    "error_body",
    "headers_of",
    "label_token",
    "prompts",
    "read_chat",
    "read_text",
    "read_word",
    "unsupported",
]
