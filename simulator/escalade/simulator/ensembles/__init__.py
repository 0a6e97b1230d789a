"""Which recorded models to put together, in which order; opens no model and no file."""

from escalade.simulator.ensembles.picked import Picked, pick
from escalade.simulator.ensembles.tables import lede, tables_of
from escalade.simulator.ensembles.zoo import Zoo, places_of, zoo_of

__all__ = ["Picked", "Zoo", "lede", "pick", "places_of", "tables_of", "zoo_of"]
