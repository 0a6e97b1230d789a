"""One thread for what blocks, and whose turn it is; knows no model."""

from escalade.cloud.backends.worker.fair_turn import FairTurn
from escalade.cloud.backends.worker.thread import Finished, Worker, finished_of

__all__ = ["FairTurn", "Finished", "Worker", "finished_of"]
