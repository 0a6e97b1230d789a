"""A fleet once more, slow and easy to read: what the fast engine is held to, to the last bit.

It shares with the engine what is drawn and what a call's back-off is, which are the model, and
nothing of how it runs: one event after the other, a list for each queue, and each replica's next
answer looked for among all its queries.
"""

from plain_fleet.events import simulate_plainly

__all__ = ["simulate_plainly"]
