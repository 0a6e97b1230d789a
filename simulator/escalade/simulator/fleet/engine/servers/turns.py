"""After how long who has no place tells others to come back; knows no server and no event.

Live that is what one place's turn took lately, the last query's seconds by the number of places:
`escalade.cloud.backends.places`.
"""

from __future__ import annotations

from escalade.simulator.fleet.engine.compiling import inner

#: What is said before any answer has been timed, as `places` has it.
FIRST_RETRY_S = 0.1
# And the least.
_LEAST_RETRY_S = 1e-3


@inner
def turn_s(took_s: float, places: int) -> float:
    """A place's turn where one query took so long."""
    return max(took_s / places, _LEAST_RETRY_S)
