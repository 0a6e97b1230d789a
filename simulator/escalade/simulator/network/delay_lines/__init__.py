"""When bytes come that are sent over a network, on one connection or many; knows no trace."""

from escalade.simulator.network.delay_lines.at_once import calls_s, draws_of
from escalade.simulator.network.delay_lines.connections import Connections, held_share
from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.delay_lines.lines import Laying, Lines
from escalade.simulator.network.delay_lines.opening import ready_s, shake_hands
from escalade.simulator.network.delay_lines.philox import uniforms
from escalade.simulator.network.delay_lines.probes import answered_s

__all__ = [
    "Connections",
    "DelayLine",
    "Laying",
    "Lines",
    "answered_s",
    "calls_s",
    "draws_of",
    "held_share",
    "ready_s",
    "shake_hands",
    "uniforms",
]
