"""Says how threads of torch wait for one another; knows no model, and comes before torch does."""

from __future__ import annotations

import os

# By default libgomp's threads look 300,000 times whether there is work before they sleep, and take
# the cores from whoever has some: beside two busy processes a step of a text took ten times as
# long. With none, the waking of a thread took as long on two free cores as the second one saved.
# Free, and beside two busy processes, a step of SmolLM2's takes least with so many.
_LOOKS = "300"


def wait_briefly() -> None:
    """Have threads look for work a moment and then sleep, unless the environment says how."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", _LOOKS)  # in libgomp this is what counts
