"""What a process holds of memory, and how it gives back or lays out what it does not need so.

Knows no model.
"""

from escalade.edge.memory.heap import return_holes, return_large_blocks
from escalade.edge.memory.huge_pages import take_huge_pages
from escalade.edge.memory.pages import can_drop_pages, drop_pages

__all__ = [
    "can_drop_pages",
    "drop_pages",
    "return_holes",
    "return_large_blocks",
    "take_huge_pages",
]
