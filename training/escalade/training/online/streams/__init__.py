"""Where items come from: files, a pipe, a folder that grows; knows no expert and no level."""

from escalade.training.online.streams.item import Columns, Item
from escalade.training.online.streams.ordering import Span, spanned
from escalade.training.online.streams.reading import STDIN, Follow, read_stream

__all__ = ["STDIN", "Columns", "Follow", "Item", "Span", "read_stream", "spanned"]
