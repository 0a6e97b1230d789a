"""Names in an artifact the text that its weights were rounded by, and finds it again for the next.

Knows no rounding. The name stands in `quantization.detail`, not in a key: versions that were before
it refuse manifests with keys that they do not know.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from escalade.edge.base import read_record_file, subsample
from escalade.edge.errors import DataError

#: What programs say that were not rounded each weight to its nearest.
BY_GPTQ = "; rounded by GPTQ"
#: What follows that where the model wrote the text, and where it was given.
BY_OWN_TEXT = " on text that it wrote"
_GIVEN = re.compile(
    re.escape(BY_GPTQ) + r" on (?P<data>.+) \(sha256 (?P<sha256>[0-9a-f]{16})\)$", re.DOTALL
)
# A small model is tuned by all of them, any model rounded by a part.
_MOST_PROMPTS = 4096


class RoundingText(NamedTuple):
    """What `export_artifact` is to round by: its `gptq_prompts`, and what they are called."""

    #: None has the model write some, where that is the scheme's way; none rounds to nearest.
    prompts: list[str] | None
    #: Follows `BY_GPTQ` in `quantization.detail`.
    named: str = ""


def read_rounding_text(data: Path) -> RoundingText:
    """At most 4,096 prompts of a file of query records.

    Raises:
        DataError: it cannot be read.
    """
    file = read_record_file(data)
    prompts = [record.prompt for record in subsample(file.records, _MOST_PROMPTS)]
    return RoundingText(prompts, f" on {data.resolve()} (sha256 {file.sha256[:16]})")


def text_again(detail: str) -> tuple[RoundingText, str | None]:
    """What another version of an artifact is to be rounded by, to be rounded as this one is.

    Args:
        detail: its `quantization.detail`.

    Returns:
        And why it is not the same text; None where it is.
    """
    if BY_GPTQ not in detail:
        return RoundingText([]), None
    if detail.endswith(BY_OWN_TEXT):
        return RoundingText(None), None
    given = _GIVEN.search(detail)
    if given is None:
        return RoundingText(None), "nothing says what text the version before was rounded by"
    data = Path(given["data"])
    if not data.is_file():
        return RoundingText(
            None
        ), f"{data}: the text that the version before was rounded by is gone"
    try:
        found = read_rounding_text(data)
    except DataError as error:
        return RoundingText(None), str(error)
    if found.named != given[0].removeprefix(BY_GPTQ):
        return RoundingText(None), f"{data}: is another text than the version before was rounded by"
    return found, None
