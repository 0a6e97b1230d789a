"""What a manifest says of a sentence encoder, which answers nothing; knows no file."""

from __future__ import annotations

from typing import Annotated

import msgspec

from escalade.edge.base import Finite
from escalade.edge.deferral import Table

# More than any that is published has (12,288 of the largest language models).
_MOST_NUMBERS = 1 << 16


class Likeness(Table, frozen=True, kw_only=True):
    """Two texts, and the cosine of what this program makes of them."""

    first: str
    second: str
    cosine: Finite


class EmbeddingEntry(Table, frozen=True, kw_only=True):
    """What makes an artifact a sentence encoder: a text becomes D numbers, of length 1."""

    #: D
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=_MOST_NUMBERS)]
    #: Of a text in other words: what every later opening is held against.
    golden: Annotated[list[Likeness], msgspec.Meta(min_length=1)]
    #: The farthest that a number was from torch's, at export time.
    max_abs_delta: Annotated[float, msgspec.Meta(ge=0.0)]
