"""What a `cascade.toml` says: tiers, members, gates, addresses, prices; opens nothing.

    currency = "USD"

    [[tiers]]
    name = "small"
    members = ["artifacts/small"]            # one artifact, or several that vote, here or elsewhere
    gate = { rule = "mean", threshold = 0.07 }

    [[tiers]]
    name = "large"
    address = "127.0.0.1:50051"

Paths are relative to the file. A tier of one artifact without a gate takes the artifact's own.
"""

from escalade.edge.cascade_file.looking import look
from escalade.edge.cascade_file.reading import MAX_CASCADE_BYTES, read_cascade_file
from escalade.edge.cascade_file.tables import (
    TEMPERATURE,
    CascadeFile,
    GateTable,
    MemberTable,
    OnOutage,
    OutboxTable,
    Spoken,
    TierTable,
    addressed_members,
    all_members,
    artifacts_of,
    encoder_of,
    key_of,
    member_tables,
    place_of,
    tier_name,
    voices_in,
)

__all__ = [
    "MAX_CASCADE_BYTES",
    "TEMPERATURE",
    "CascadeFile",
    "GateTable",
    "MemberTable",
    "OnOutage",
    "OutboxTable",
    "Spoken",
    "TierTable",
    "addressed_members",
    "all_members",
    "artifacts_of",
    "encoder_of",
    "key_of",
    "look",
    "member_tables",
    "place_of",
    "read_cascade_file",
    "tier_name",
    "voices_in",
]
