"""A cascade's file with members, addresses, keys or values that cannot be; and one that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]
RefusalOf = Callable[[Path], str]
CheckRefused = Callable[[str, list[str]], None]
PROMPT = "g2p: cascade"

SMALL = '[[tiers]]\nmembers = ["small"]\n'
FAR = '[[tiers]]\naddress = "127.0.0.1:9"\n'

#: What is in the file, and what is said of it: the place, the range, the value.
BAD: dict[str, tuple[str, list[str]]] = {
    "no such member": (
        '[[tiers]]\nmembers = ["nowhere"]\n',
        ["nowhere: not an artifact: there is no such folder"],
    ),
    "a member that is no artifact": (
        '[[tiers]]\nmembers = ["."]\n',
        ["not an artifact: manifest.json cannot be read: missing"],
    ),
    "a member that was changed": (
        f'[[tiers]]\nmembers = [{{ artifact = "small", manifest_sha256 = "{"0" * 64}" }}]\n',
        ["member ", "small was changed: its manifest is ", "calibrated with 000000000000"],
    ),
    "a member without a name": ('[[tiers]]\nmembers = [""]\n', ["tiers[0].members[0]", "''"]),
    "a member in figures": (
        "[[tiers]]\nmembers = [3]\n",
        ["got `int`", "tiers[0].members[0]", "3"],
    ),
    "one that votes twice": (
        '[[tiers]]\nmembers = ["small", "small"]\n',
        ["tier 'ensemble-1': ", "are the same model by content, which has one vote"],
    ),
    "members that cannot be compared": (
        '[[tiers]]\nmembers = ["small", "short"]\n',
        ["tier 'ensemble-1'", "short: its answers cannot be compared", "max_new_tokens 5 and 24"],
    ),
    "ids of two tokenizers": (
        SMALL + '[[tiers]]\nmembers = ["other"]\ngate = { threshold = 0.5 }\n' + FAR,
        ["tier 'cloud' is to be sent token ids", "have different tokenizers", 'set send = "text"'],
    ),
    "no members and no address": ('[[tiers]]\nname = "x"\n', ["tiers[0]: give members"]),
    "members and an address": (
        '[[tiers]]\nmembers = ["small"]\naddress = "127.0.0.1:9"\n',
        ["tiers[0]: give members", "or an address, one of them"],
    ),
    "an address without a port": (
        SMALL + '[[tiers]]\naddress = "cloud.example.org"\n',
        ["tiers[1].address must be HOST:PORT with a port in 1-65535", "'cloud.example.org'"],
    ),
    "an empty address": (SMALL + '[[tiers]]\naddress = ""\n', ["tiers[1].address must be", "''"]),
    "a port of no sense": (
        SMALL + '[[tiers]]\naddress = "localhost:70000"\n',
        ["tiers[1].address must be", "'localhost:70000'"],
    ),
    "an address on the device": (
        SMALL + FAR + 'place = "device"\n',
        ["tiers[1].place: an address is a gateway's or a cloud's, got 'device'"],
    ),
    "an address in the attic": (
        SMALL + FAR + 'place = "attic"\n',
        ["tiers[1].place must be one of", "cloud, device, gateway", "'attic'"],
    ),
    "members elsewhere": (
        SMALL + 'place = "cloud"\n',
        ["tiers[0].place: of a tier elsewhere, with an address; this one has members"],
    ),
    "a price where none is": (
        SMALL + "prompt_price = 1.0\n",
        ["tiers[0].prompt_price: of a tier elsewhere"],
    ),
    "side by side with nobody": (
        SMALL + FAR + "side_by_side = true\n",
        ["tiers[1].side_by_side: of members on this device"],
    ),
    "a token of members": (
        SMALL + 'token_file = "x"\n',
        ["tiers[0].token_file: of a tier elsewhere"],
    ),
    "a certificate without its key": (
        SMALL + FAR + 'client_cert = "x.pem"\n',
        ["tiers[1].client_key: missing; a certificate is shown with its key"],
    ),
    "a certificate that nobody may be shown": (
        SMALL + FAR + 'client_cert = "x.pem"\nclient_key = "x.pem"\nplaintext = true\n',
        ["tiers[1]: plaintext and certificates ('x.pem') exclude each other"],
    ),
    "a draft as text beside ids": (
        SMALL + FAR + "draft_as_text = true\n",
        ['tiers[1].draft_as_text: where send = "text"', "'tokens'"],
    ),
    "a rule that asks what a text has not": (
        SMALL
        + FAR
        + 'send = "text"\ndraft_as_text = true\n'
        + 'draft_acceptance = { rule = "chow", alpha = 0.1 }\n',
        ["tiers[1].draft_acceptance.rule: 'chow' asks for the draft's log-probabilities"],
    ),
    "an acceptance of no rule": (
        SMALL + FAR + 'draft_acceptance = { rule = "token_v9", alpha = 0.1 }\n',
        ["tiers[1].draft_acceptance.rule must be one of", "token_v3", "'token_v9'"],
    ),
    "an alpha out of range": (
        SMALL + FAR + 'draft_acceptance = { rule = "diff", alpha = 1.5 }\n',
        ["tiers[1].draft_acceptance.alpha", "1.5"],
    ),
    "an acceptance on the device": (
        SMALL + 'draft_acceptance = { rule = "diff", alpha = 0.5 }\n',
        ["tiers[0].draft_acceptance: of a tier elsewhere"],
    ),
    "an unknown key": (
        SMALL + FAR + "adress = 3\n",
        ["unknown field `adress`", "tiers[1]", "did you mean 'address'?"],
    ),
    "an unknown key of a gate": (
        SMALL + "gate = { treshold = 0.5 }\n" + FAR,
        ["unknown field `treshold`", "tiers[0].gate", "did you mean 'threshold'?"],
    ),
    "an unknown key of a member": (
        '[[tiers]]\nmembers = [{ artefact = "small" }]\n',
        ["unknown field `artefact`", "tiers[0].members[0]", "did you mean 'artifact'?"],
    ),
    "an unknown key of the file": (
        'curency = "EUR"\n' + SMALL,
        ["unknown field `curency`", "did you mean 'currency'?"],
    ),
    "an unknown key of the policy": (
        SMALL + FAR + "[policy]\nmin_batery = 0.5\n",
        ["unknown field `min_batery`", "policy", "did you mean 'min_battery'?"],
    ),
    "an unknown key of a day": (
        SMALL + FAR + "[policy.daily]\ncall = 5\n",
        ["unknown field `call`", "policy.daily", "did you mean 'calls'?"],
    ),
    "a policy of no word": (
        SMALL + FAR + '[policy]\nsend = "sometimes"\n',
        ["policy.send must be one of allow, ask, never", "'sometimes'"],
    ),
    "a battery in percent": (
        SMALL + FAR + "[policy]\nmin_battery = 20\n",
        ["policy.min_battery must be in [0, 1], got 20"],
    ),
    "a battery that is no number": (
        SMALL + FAR + "[policy]\nmin_battery = nan\n",
        ["policy.min_battery", "nan"],
    ),
    "a day of less than nothing": (
        SMALL + FAR + "[policy.daily]\nbytes = -1\n",
        ["policy.daily.bytes must be at least 0 and at most 9007199254740992, got -1"],
    ),
    "a day of half a call": (
        SMALL + FAR + "[policy.daily]\ncalls = 0.5\n",
        ["policy.daily.calls", "0.5"],
    ),
    "a day without end": (
        SMALL + FAR + "[policy.daily]\nmoney = inf\n",
        ["policy.daily.money must be at least 0 and finite, got inf"],
    ),
    "money without a price": (
        SMALL + FAR + "[policy.daily]\nmoney = 1\n",
        ["policy.daily.money: no tier elsewhere has a prompt_price or generated_price"],
    ),
    "a pattern that does not compile": (
        SMALL + FAR + "[policy]\nstay_patterns = ['fine', '(']\n",
        ["policy.stay_patterns[1]: no regular expression of RE2: missing ): ("],
    ),
    "a pattern that looks back": (
        SMALL + FAR + "[policy]\nredact = ['(?<=x)y']\n",
        ["policy.redact[0]: no regular expression of RE2: "],
    ),
    "a pattern that is too large": (
        SMALL + FAR + "[policy]\nredact = ['.{1000}']\n",
        ["policy.redact: expressions must compile to at most 4096 instructions together, got "],
    ),
    "an empty pattern": (
        SMALL + FAR + "[policy]\nstay_patterns = ['']\n",
        ["policy.stay_patterns[0]", "''"],
    ),
    "a budget where nothing can be written": (
        SMALL + FAR + "[policy]\nbudget_file = '/proc/budget'\ndaily = { calls = 1 }\n",
        ["/proc/budget: cannot be opened: "],
    ),
    "a key that is nothing like it": (
        SMALL + "zzz = 3\n",
        ["unknown field `zzz`", "known keys: address, breaker_after"],
    ),
    "a negative price": (
        SMALL + FAR + "generated_price = -0.5\n",
        ["tiers[1].generated_price must be at least 0 and finite, got -0.5"],
    ),
    "a member's negative price": (
        '[[tiers]]\nmembers = [{ artifact = "small", prompt_price = -1 }]\n',
        ["tiers[0].members[0].prompt_price must be", "got -1"],
    ),
    "a price beyond numbers": (
        SMALL + FAR + "prompt_price = inf\n",
        ["tiers[1].prompt_price must be", "got inf"],
    ),
    "a price that is none": (
        SMALL + FAR + "prompt_price = nan\n",
        ["tiers[1].prompt_price must be", "got nan"],
    ),
    "no time": (
        SMALL + FAR + "deadline_s = 0\n",
        ["tiers[1].deadline_s must be > 0 and finite", "got 0"],
    ),
    "all the time": (
        SMALL + FAR + "deadline_s = inf\n",
        ["tiers[1].deadline_s must be", "got inf"],
    ),
    "fewer failures than none": (
        SMALL + FAR + "breaker_after = -1\n",
        ["tiers[1].breaker_after must be", "got -1"],
    ),
    "a breaker on the device": (
        SMALL + "breaker_after = 3\n",
        ["tiers[0].breaker_after: of a tier elsewhere"],
    ),
    "a second address for no time": (
        SMALL + FAR + 'hedge_address = "localhost:1"\n',
        ["tiers[1].hedge_address: goes with hedge_after_s or hedge_after; neither is given"],
    ),
    "two delays of a hedge": (
        SMALL + FAR + 'hedge_after_s = 1\nhedge_after = "p95"\n',
        ["tiers[1].hedge_after: excludes hedge_after_s, got 'p95' and 1.0"],
    ),
    "a hedge after most of all": (
        SMALL + FAR + 'hedge_after = "p100"\n',
        ["tiers[1].hedge_after must be one of p50, p90, p95, p99", "'p100'"],
    ),
    "a second address of no sense": (
        SMALL + FAR + 'hedge_after_s = 1\nhedge_address = "localhost:70000"\n',
        ["tiers[1].hedge_address must be", "'localhost:70000'"],
    ),
    "a hedge at once": (
        SMALL + FAR + "hedge_after_s = 0\n",
        ["tiers[1].hedge_after_s must be > 0 and finite", "got 0"],
    ),
    "a form nobody sends": (
        SMALL + FAR + 'send = "morse"\n',
        ["tiers[1].send must be one of", "text, tokens", "'morse'"],
    ),
    "certificates that are not there": (
        SMALL + FAR + 'ca_cert = "none.pem"\nplaintext = false\n',
        ["none.pem: cannot be read: No such file"],
    ),
    "certificates for plain text": (
        SMALL + FAR + 'ca_cert = "ca.pem"\nplaintext = true\n',
        ["tiers[1]: plaintext and certificates ('ca.pem') exclude each other"],
    ),
    "certificates for no TLS": (
        SMALL + FAR + 'ca_cert = "ca.pem"\ntls = false\n',
        ["tiers[1]: plaintext and certificates ('ca.pem') exclude each other"],
    ),
    "both": (
        SMALL + FAR + "tls = true\nplaintext = true\n",
        ["tiers[1]: tls and plaintext exclude each other, got true for both"],
    ),
    "TLS on this device": (SMALL + "tls = true\n", ["tiers[0].tls: of a tier elsewhere"]),
    "a name twice": (
        SMALL + 'name = "x"\n' + FAR + 'name = "x"\n',
        ["tiers[1].name: 'x' is another tier's already"],
    ),
    "an empty name": (SMALL + 'name = ""\n', ["tiers[0].name", "length >= 1", "''"]),
    "a name of two lines": (
        SMALL + 'name = "a\\nb"\n',
        ["tiers[0].name: must be printable", "'a\\nb'"],
    ),
    "an outage of no sense": (
        'on_outage = "wait"\n' + SMALL,
        ["on_outage must be one of", "degrade, queue", "'wait'"],
    ),
    "an outbox of nothing": (
        SMALL + "[outbox]\nmax_queries = 0\n",
        ["outbox.max_queries must be", "got 0"],
    ),
    "a currency in figures": ("currency = 3\n" + SMALL, ["`str`, got `int`", "currency", "3"]),
    "tiers that are none": ("tiers = 3\n", ["Expected `array`, got `int`", "tiers", "3"]),
    "no TOML": ("[[tiers]\n", ["not valid TOML:", "line 1", "an artifact a folder"]),
    "no text": ("# " + "x" * (1 << 20), ["more than 1048576 bytes", "an artifact a folder"]),
    "brackets without end": ("a = " + "[" * 5000, ["not valid TOML: "]),
    "a number without end": ("a = " + "9" * 5000, ["not valid TOML: "]),
    "a figure of thousands": (
        SMALL + FAR + "deadline_s = 0x" + "f" * 5000 + "\n",
        ["out of range", "tiers[1].deadline_s", "a number of more digits than are read"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_right_is_said_in_one_line(
    check_refused: CheckRefused, name: str
) -> None:
    check_refused(*BAD[name])


def test_a_file_that_cannot_be_read(refusal_of: RefusalOf, tmp_path: Path) -> None:
    path = tmp_path / "cascade.toml"
    path.write_bytes(b'currency = "\xff"\n')
    assert "not UTF-8 text: 'utf-8' codec can't decode byte 0xff" in refusal_of(path)
    path.write_bytes(b"# \n" * (1 << 19))
    assert "more than 1048576 bytes" in refusal_of(path)
    assert "not an artifact: there is no such file" in refusal_of(tmp_path / "none.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "folder.toml: not an artifact: manifest.json cannot" in refusal_of(folder)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--cloud", "127.0.0.1:9"], "cloud"),
        (["--threshold", "0.5"], "threshold"),
        (["--send-text"], "prompt_form"),
        (["--deadline-s", "3"], "deadline_s"),
        (["--plaintext"], "plaintext"),
        (["--tls"], "tls"),
        (["--ca-cert", "x.pem"], "ca_cert"),
        (["--token-file", "x"], "token_file"),
        (["--client-cert", "x.pem"], "client_cert"),
        (["--client-key", "x.pem"], "client_key"),
    ],
)
def test_what_a_file_says_itself_is_not_said_beside_it(
    invoke: Invoke, shelf: Path, tmp_path: Path, option: list[str], name: str
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(f'[[tiers]]\nmembers = ["{shelf / "small"}"]\n')
    code, out, err = invoke("ask", path, PROMPT, *option)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.endswith(f"{name}: for artifacts; a cascade's file says it for each tier")


def test_tiers_without_a_name_take_one_from_what_they_are(
    invoke: Invoke, shelf: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cascade.toml"
    small, twin = (str(shelf / name) for name in ("small", "twin"))
    path.write_text(
        f'[[tiers]]\nmembers = ["{small}", "{twin}"]\ngate = {{ rule = "vote", threshold = 0.5 }}\n'
        f'[[tiers]]\nmembers = ["{small}"]\n'
    )
    code, out, _ = invoke("ask", path, PROMPT, "--json")
    assert code == 0
    assert [tier["name"] for tier in json.loads(out)["tiers"]] == ["ensemble-1", "small"]
