"""One request's choices: queries, threads, what a reader sees meanwhile; knows no HTTP."""

from escalade.edge.endpoint.answering.climbing import climb
from escalade.edge.endpoint.answering.places import Place, Places
from escalade.edge.endpoint.answering.readers import Readers
from escalade.edge.endpoint.answering.request import Request, chat_request, text_request
from escalade.edge.endpoint.answering.showing import Event, Piece, Shown

__all__ = [
    "Event",
    "Piece",
    "Place",
    "Places",
    "Readers",
    "Request",
    "Shown",
    "chat_request",
    "climb",
    "text_request",
]
