"""One request's choices: queries, threads, what a reader sees meanwhile; knows no HTTP."""

from escalade.edge.endpoint.answering.climbing import climb
from escalade.edge.endpoint.answering.places import Places
from escalade.edge.endpoint.answering.question import Question, chat_question, text_question
from escalade.edge.endpoint.answering.showing import Event, Piece, Shown
from escalade.edge.endpoint.answering.turns import InOrder

__all__ = [
    "Event",
    "InOrder",
    "Piece",
    "Places",
    "Question",
    "Shown",
    "chat_question",
    "climb",
    "text_question",
]
