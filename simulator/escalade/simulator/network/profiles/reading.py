"""Reads profiles from files, the shipped one and users'; knows no delay."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from escalade.simulator.errors import ProfileError, unknown
from escalade.simulator.network.profiles.profile import Profile, filled
from escalade.simulator.network.profiles.series import RttSeries, Series
from escalade.simulator.tables import named_table, read_tables

#: Profiles by name.
Profiles = Mapping[str, Profile]

#: The four delays of Revisiting Cascaded Ensembles, section 4.2.
PAPERS_DELAYS = ("coe-1us", "coe-10ms", "coe-100ms", "coe-1s")

_SHIPPED = Path(__file__).with_name("networks.toml")


@cache
def shipped_profiles() -> Profiles:
    """Every profile that comes with the package, in the file's order."""
    return MappingProxyType(_read(_SHIPPED))


def profiles_with(path: Path | None) -> Profiles:
    """The shipped profiles and those of a file, which go before shipped ones of the same name.

    Args:
        path: TOML, a table for each profile; paths in it are relative to its folder. None adds
            none.

    Raises:
        ProfileError: the file cannot be read, a key is unknown (the nearest is named), or a value
            is out of range.
    """
    if path is None:
        return shipped_profiles()
    return MappingProxyType({**shipped_profiles(), **_read(path)})


def get_profile(name: str, known: Profiles | None = None) -> Profile:
    """The profile of that name.

    Args:
        name: as a user types it.
        known: None is those that come with the package.

    Raises:
        ProfileError: there is none; the message names the nearest and all known names.
    """
    among = shipped_profiles() if known is None else known
    if name not in among:
        raise ProfileError(unknown("profile", name, among))
    return among[name]


def _read(path: Path) -> dict[str, Profile]:
    return {name: _profile(path, name, table) for name, table in read_tables(path).items()}


def _profile(path: Path, name: str, table: object) -> Profile:
    def series(kind: type, given: object) -> object:
        if isinstance(given, Series) or not issubclass(kind, Series):
            return given
        if not isinstance(given, str):
            raise TypeError(f"Expected `str`, a path, got `{type(given).__name__}`")
        return kind.read(path.parent / given)

    where = f"{path}: profile {name!r}"
    try:
        if isinstance(table, dict):
            if isinstance(table.get("rtt_trace"), str):
                table = {**table, "rtt_trace": series(RttSeries, table["rtt_trace"])}
            table = filled(table)
        return named_table(where, name, table, Profile, series)
    except ProfileError as error:
        said = str(error)
        raise ProfileError(said if said.startswith(f"{path}: ") else f"{path}: {said}") from error
