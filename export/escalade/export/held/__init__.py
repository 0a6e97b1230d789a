"""Holds a program against its model: the same tokens, and what was lost; writes nothing."""

from escalade.export.held.lost import Lost, held_out_prompts, keep_lost, measure_lost
from escalade.export.held.parity import answer_golden, check_parity, measure_parity

__all__ = [
    "Lost",
    "answer_golden",
    "check_parity",
    "held_out_prompts",
    "keep_lost",
    "measure_lost",
    "measure_parity",
]
