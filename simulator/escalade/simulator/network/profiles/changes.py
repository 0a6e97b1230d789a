"""A profile with some of its numbers changed; reads no file, knows no clock."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from escalade.edge.base import explain
from escalade.simulator.errors import ProfileError, unknown
from escalade.simulator.network.profiles.profile import Profile, filled

# A path would have one user's process read a file for another.
_OF_FILES = {"name", "source", "rtt_trace", "down_trace", "up_trace"}

_FIELDS = {
    field.name: field for field in msgspec.structs.fields(Profile) if field.name not in _OF_FILES
}


def with_fields(profile: Profile, fields: Mapping[str, object]) -> Profile:
    """The same network, but for some fields.

    Args:
        profile: it.
        fields: as a file of profiles writes them; None leaves one out. Traces, the name and the
            source are not among them.

    Raises:
        ProfileError: a field is unknown (the nearest is named), of another type or out of range.
    """
    where = f"profile {profile.name!r}"
    table = dict(fields)
    if "spread" in table:
        table = filled(table)
    changed: dict[str, object] = {}
    for name, value in table.items():
        if name not in _FIELDS:
            raise ProfileError(unknown(f"{where}: a field", name, _FIELDS))
        field = _FIELDS[name]
        if value is None:
            if field.required:
                raise ProfileError(f"{where}: {name} cannot be left out")
            changed[name] = field.default
            continue
        try:
            changed[name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError as error:
            raise ProfileError(f"{where}: {name}: {explain(error, value, field.type)}") from error
    return msgspec.structs.replace(profile, **changed)
