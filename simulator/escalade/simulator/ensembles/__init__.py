"""Which recorded models to put together, in which order; opens no model and no file."""

from escalade.simulator.ensembles.picked import Picked, pick
from escalade.simulator.ensembles.tables import lede, tables_of
from escalade.simulator.ensembles.zoo import CostName, Zoo, places_of, zoo_of

__all__ = ["CostName", "Picked", "Zoo", "lede", "pick", "places_of", "tables_of", "zoo_of"]
