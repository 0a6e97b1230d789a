"""A cascade's file whose tiers and gates do not fit together: one line, exit code 2, no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CheckRefused = Callable[[str, list[str]], None]

SMALL = '[[tiers]]\nmembers = ["small"]\n'
TWIN = '[[tiers]]\nmembers = ["twin"]\n'
FAR = '[[tiers]]\naddress = "127.0.0.1:9"\n'
PAIR = '[[tiers]]\nmembers = ["small", "twin"]\n'


TWO = '{ address = "127.0.0.1:9" }, { address = "127.0.0.1:8" }'


def far(members: str, more: str = "") -> str:
    return f"[[tiers]]\nmembers = [{members}]\n{more}\n"


def vote(members: str, more: str = "") -> str:
    """An artifact, and above it members as they are written."""
    return SMALL + "gate = { threshold = 0.5 }\n" + far(members, more)


def gate(text: str) -> str:
    return f"{SMALL}gate = {{ {text} }}\n{FAR}"


#: What is in the file, and what is said of it: the place, the range, the value.
BAD: dict[str, tuple[str, list[str]]] = {
    "no tier": (
        'currency = "USD"\ntiers = []\n',
        ["tiers: a cascade needs at least 1 tier, got 0"],
    ),
    "nothing": ("", ["missing required field `tiers`"]),
    "two last tiers": (
        PAIR + FAR,
        ["two last tiers: 'ensemble-1' and 'cloud' have no gate after them"],
    ),
    "two last tiers, elsewhere": (
        FAR + '[[tiers]]\nname = "b"\naddress = "127.0.0.1:8"\n',
        ["two last tiers: 'cloud' and 'b'"],
    ),
    "a gate on the last": (
        SMALL + FAR + 'gate = { rule = "mean", threshold = 0.5 }\n',
        ["tier 'cloud' is the last and has a gate"],
    ),
    "a gate on the only one": (
        SMALL + 'gate = { rule = "mean", threshold = 0.5 }\n',
        ["tier 'small' is the last and has a gate"],
    ),
    "an embedding without an encoder": (
        PAIR + 'gate = { rule = "similarity:embedding", threshold = 0.5 }\n' + FAR,
        ["tier 'ensemble-1': gate.encoder: must be the folder of a sentence encoder", "got none"],
    ),
    "an encoder of nothing": (
        PAIR + 'gate = { rule = "vote", threshold = 0.5, encoder = "small" }\n' + FAR,
        ["gate.encoder: must be the folder", "and nowhere else; got 'small' with rule 'vote'"],
    ),
    "an encoder at an address": (
        PAIR
        + 'gate = { rule = "similarity:embedding", encoder = { address = "127.0.0.1:9" } }\n'
        + FAR,
        ["gate.encoder: takes artifact, trusted_key and manifest_sha256, no other key"],
    ),
    "an encoder that is none": (
        PAIR
        + 'gate = { rule = "similarity:embedding", threshold = 0.5, encoder = "twin" }\n'
        + FAR,
        ["twin: not a sentence encoder, whose manifest has an embedding"],
    ),
    "an unknown rule": (
        gate('rule = "meen", threshold = 0.5'),
        [
            "tier 'small': gate.rule must be one of mean, sum, min, max",
            "'meen'; did you mean 'mean'",
        ],
    ),
    "a rule of no sense": (
        gate('rule = "quantile:2", threshold = 0.5'),
        ["tier 'small': gate.rule 'quantile:2': Q of quantile:Q must be a number in [0, 1]", "'2'"],
    ),
    "a rule that the artifact lacks": (
        gate('rule = "router", threshold = 0.5'),
        ["the gate of tier 'small': rule 'router'", "small has no router"],
    ),
    "a vote of one": (
        gate('rule = "vote", threshold = 0.5'),
        ["tier 'small': gate.rule: 'vote' is the rule of a tier of several members", "with 1"],
    ),
    "another rule for a vote": (
        PAIR + 'gate = { rule = "mean", threshold = 0.5 }\n' + FAR,
        ["tier 'ensemble-1': gate.rule of several members must be one of vote, ", "got 'mean'"],
    ),
    "a vote that there is not": (
        PAIR + 'gate = { rule = "vote:word", threshold = 0.5 }\n' + FAR,
        [
            "vote:number, mean-score",
            "similarity:embedding; got 'vote:word'; did you mean 'vote:words'?",
        ],
    ),
    "a similarity of one": (
        gate('rule = "similarity:edit", threshold = 0.5'),
        ["tier 'small': gate.rule: 'similarity:edit' is the rule of a tier of several", "with 1"],
    ),
    "a threshold on the last vote": (
        SMALL + "gate = { threshold = 0.5 }\n" + PAIR + 'gate = { rule = "vote", threshold = 1 }\n',
        ["tier 'ensemble-2' is the last and has a gate"],
    ),
    "a last vote that there is not": (
        SMALL + "gate = { threshold = 0.5 }\n" + PAIR + 'gate = { rule = "mean" }\n',
        ["tier 'ensemble-2': gate.rule of several members must be one of vote"],
    ),
    "a weight of 0": (
        '[[tiers]]\nmembers = ["small", { artifact = "twin", weight = 0 }]\n',
        ["tiers[0].members[1].weight must be > 0 and finite, got 0"],
    ),
    "an endless weight": (
        '[[tiers]]\nmembers = ["small", { artifact = "twin", weight = inf }]\n',
        ["tiers[0].members[1].weight", "inf"],
    ),
    "a weight that is no number": (
        '[[tiers]]\nmembers = ["small", { artifact = "twin", weight = nan }]\n',
        ["tiers[0].members[1].weight", "nan"],
    ),
    "a weight of one": (
        '[[tiers]]\nmembers = [{ artifact = "twin", weight = 2 }]\n',
        ["tiers[0].members[0].weight: of a tier of several artifacts, got 2.0 of one"],
    ),
    "one sample": (
        SMALL + "samples = 1\n",
        ["tiers[0].samples must be at least 2 and at most 40, got 1"],
    ),
    "too many samples": (
        SMALL + "samples = 41\n",
        ["tiers[0].samples must be at least 2 and at most 40, got 41"],
    ),
    "samples of two": (
        PAIR + "samples = 3\n",
        ["tiers[0].samples: of a tier of one artifact, got 2 members"],
    ),
    "samples side by side": (
        SMALL + "samples = 3\nside_by_side = true\n",
        ["tiers[0].side_by_side: samples of one artifact are drawn one after the other"],
    ),
    "samples elsewhere": (
        FAR + "samples = 3\n",
        ["tiers[0].samples: of a tier of one artifact, got 0 members"],
    ),
    "a temperature of no samples": (
        SMALL + "temperature = 0.5\n",
        ["tiers[0].temperature: goes with samples, which are not given"],
    ),
    "no temperature": (
        SMALL + "samples = 3\ntemperature = 0\n",
        ["tiers[0].temperature must be > 0 and finite, got 0"],
    ),
    "a seed of no samples": (SMALL + "seed = 1\n", ["tiers[0].seed: goes with samples"]),
    "a deadline of one member": (
        SMALL + "member_deadline_s = 1\n",
        ["tiers[0].member_deadline_s: of a tier of several members, got 1"],
    ),
    "a rule for another machine": (
        FAR + "gate = { threshold = 0.5 }\n" + TWIN,
        ["tier 'cloud': gate.rule: a tier elsewhere needs one"],
    ),
    "an uncalibrated gate": (TWIN + FAR, ["the gate of tier 'twin': not calibrated: run"]),
    "an uncalibrated vote": (
        PAIR + 'gate = { rule = "vote" }\n' + FAR,
        ["the gate of tier 'ensemble-1': not calibrated: run"],
    ),
    "another rule than was calibrated": (
        gate('rule = "min"'),
        ["the gate of tier 'small': not calibrated: run"],
    ),
    "a threshold that is no number": (
        gate("threshold = nan"),
        ["tiers[0].gate.threshold must be finite, got nan"],
    ),
    "a threshold beyond numbers": (
        gate("threshold = -inf"),
        ["tiers[0].gate.threshold must be finite, got -inf"],
    ),
    "a threshold in words": (
        gate('threshold = "0.5"'),
        ["Expected `float | null`, got `str`", "tiers[0].gate.threshold", "'0.5'"],
    ),
    "an unknown time to stop": (
        gate('early = "often"'),
        ["tiers[0].gate.early", "certain, likely, off", "'often'"],
    ),
    "likely, and nobody knows what": (
        gate('early = "likely"'),
        ["was not calibrated to stop early; 'certain' needs no calibration"],
    ),
    "an early vote": (
        PAIR + 'gate = { threshold = 0.5, early = "certain" }\n' + FAR,
        ["tier 'ensemble-1': gate.early: of a tier of one artifact that answers once, got"],
    ),
    "an artifact and an address that vote": (
        vote('"small", { address = "127.0.0.1:9" }'),
        ["tiers[1].members[0]: members are all artifacts on this device or all addresses", "small"],
    ),
    "a member of both kinds": (
        vote('{ address = "127.0.0.1:9", artifact = "small" }, { address = "127.0.0.1:8" }'),
        ["tiers[1].members[0]: give artifact (a folder on this device) or address, one of them"],
    ),
    "a member of neither kind": (
        vote("{ weight = 2 }, { address = '127.0.0.1:8' }"),
        ["tiers[1].members[0]: give artifact (a folder on this device) or address, one of them"],
    ),
    "one address that votes": (
        vote('{ address = "127.0.0.1:9" }'),
        ["tiers[1].members[0].address: of several members that vote, got 1; a tier of one has"],
    ),
    "an address that votes twice": (
        vote('{ address = "127.0.0.1:9" }, { address = "127.0.0.1:9" }'),
        ["tiers[1].members[1].address: '127.0.0.1:9' is members[0] already, which has one vote"],
    ),
    "a voting address of no sense": (
        vote('{ address = "127.0.0.1:9" }, { address = "nowhere" }'),
        ["tiers[1].members[1].address must be HOST:PORT", "'nowhere'"],
    ),
    "a voting address in the clear": (
        vote(
            '{ address = "127.0.0.1:9" }, { address = "127.0.0.1:8", tls = true, plaintext = true }'
        ),
        ["tiers[1].members[1]: "],
    ),
    "half a certificate of a member": (
        vote('{ address = "127.0.0.1:9" }, { address = "127.0.0.1:8", client_cert = "c.pem" }'),
        ["tiers[1].members[1].client_key: missing; a certificate is shown with its key"],
    ),
    "an address with a manifest": (
        vote('{ address = "127.0.0.1:9", manifest_sha256 = "0" }, { address = "127.0.0.1:8" }'),
        ["tiers[1].members[0].manifest_sha256: of an artifact on this device, got it of"],
    ),
    "an artifact with a token": (
        '[[tiers]]\nmembers = [{ artifact = "small", token_file = "t" }]\n',
        ["tiers[0].members[0].token_file: of a member elsewhere, with an address; this one is"],
    ),
    "addresses on the device": (
        vote(TWO, 'place = "device"'),
        ["tiers[1].place: an address is a gateway's or a cloud's, got 'device'"],
    ),
    "an agreement that addresses have not": (
        SMALL + "gate = { threshold = 0.5 }\n" + far(TWO, 'gate = { rule = "mean" }'),
        ["tier 'ensemble-2': gate.rule of several members must be one of vote", "'mean'"],
    ),
    "samples of addresses": (
        vote(TWO, "samples = 3"),
        ["tiers[1].samples: of a tier of one artifact, got 2 members"],
    ),
    **{
        f"{key} of addresses": (
            vote(TWO, f"{key} = {value}"),
            [f"tiers[1].{key}: not of members at addresses, got {shown}; {instead}"],
        )
        for key, value, shown, instead in (
            ("ca_cert", '"ca.pem"', "'ca.pem'", "each member has its own"),
            ("tls", "false", "False", "each member has its own"),
            ("token_file", '"t"', "'t'", "each member has its own"),
            ("prompt_price", "1", "1.0", "each member has its own"),
            ("side_by_side", "true", "True", "they always are asked side by side"),
            ("member_deadline_s", "2", "2.0", "deadline_s is of each of them"),
            ("hedge_after_s", "2", "2.0", "the vote goes on without one that is late"),
            ("hedge_after", '"p95"', "'p95'", "the vote goes on without one that is late"),
            ("hedge_address", '"h:1"', "'h:1'", "the vote goes on without one that is late"),
            (
                "draft_acceptance",
                '{ rule = "token_v3", alpha = 0.1 }',
                "{'rule': 'token_v3', 'alpha': 0.1}",
                "members that lean on one draft agree because of it",
            ),
        )
    },
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_right_is_said_in_one_line(
    check_refused: CheckRefused, name: str
) -> None:
    check_refused(*BAD[name])
