"""Text in and out of a model: what it reads, what its tokens add, its labels; knows no program."""

from escalade.edge.generation.texts.classes import Classes
from escalade.edge.generation.texts.reading import Reading
from escalade.edge.generation.texts.token_texts import TokenTexts, vocabulary_of

__all__ = ["Classes", "Reading", "TokenTexts", "vocabulary_of"]
