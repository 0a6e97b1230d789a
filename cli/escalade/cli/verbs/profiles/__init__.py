"""The verbs of `escalade profiles`: named networks and what they do."""

from escalade.cli.verbs.profiles.convert import convert
from escalade.cli.verbs.profiles.devices import devices
from escalade.cli.verbs.profiles.drivers import drivers
from escalade.cli.verbs.profiles.listing import list_profiles
from escalade.cli.verbs.profiles.plot import plot
from escalade.cli.verbs.profiles.show import show

__all__ = ["convert", "devices", "drivers", "list_profiles", "plot", "show"]
