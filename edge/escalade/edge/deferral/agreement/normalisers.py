"""Under which form texts are compared; knows no vote. The texts themselves stay as they are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

#: As it is written, which is no part of a rule's name.
EXACT = "exact"

# Digits in groups of three, or any; the sign is no hyphen between two words or numbers.
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?")
_MINUS_SIGN = "\u2212"


def folded(text: str) -> str:
    """Without case, and with one space for any white space; in Unicode's form NFKC."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> str:
    """Folded, and without punctuation (Unicode's categories P)."""
    kept = "".join(one for one in folded(text) if not unicodedata.category(one).startswith("P"))
    return " ".join(kept.split())


def number(text: str) -> str:
    """The last number in a text, by its value; folded where there is none.

    As the answers of GSM8K are compared (arXiv 2110.14168): `1,234.50` is `1234.5`.
    """
    plain = unicodedata.normalize("NFKC", text).replace(_MINUS_SIGN, "-")
    found = _NUMBER.findall(plain)
    if not found:
        return folded(text)
    # As digits: a float would take long numbers for equal that are not.
    sign, digits = ("-", found[-1][1:]) if found[-1][0] == "-" else ("", found[-1].lstrip("+"))
    whole, _, fraction = digits.replace(",", "").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return value if value == "0" else sign + value


#: By the name that follows the rule's: `vote:words`.
NORMALISERS: dict[str, Callable[[str], str]] = {
    EXACT: str,
    "folded": folded,
    "words": words,
    "number": number,
}
