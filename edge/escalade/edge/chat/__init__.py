"""Conversations: a model's chat template, and turns that remember; knows no network."""

from escalade.edge.chat.chat import Chat, ChatPrompt
from escalade.edge.chat.messages import Message

__all__ = ["Chat", "ChatPrompt", "Message"]
