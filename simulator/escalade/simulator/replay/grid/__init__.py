"""Many thresholds at once; knows no network by name and no plot."""

from escalade.simulator.replay.grid.grid import Grid, replay_grid, replay_grids

__all__ = ["Grid", "replay_grid", "replay_grids"]
