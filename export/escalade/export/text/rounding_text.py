"""Names in an artifact the text that its weights were rounded by, and finds it again for the next.

Knows no rounding. The name stands in `quantization.detail`, not in a key: versions that were before
it refuse manifests with keys that they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from escalade.checkpoint import MOST_PROMPTS, PROMPTS_NAME
from escalade.edge.base import read_record_file, subsample
from escalade.edge.errors import DataError

#: What programs say that were not rounded each weight to its nearest.
BY_GPTQ = "; rounded by GPTQ"
#: What follows that where the model wrote the text, where its checkpoint keeps it, and where it
#: was given.
BY_OWN_TEXT = " on text that it wrote"
_TRAINED = " on prompts that it was trained on"
_GIVEN = re.compile(
    re.escape(BY_GPTQ) + r" on (?P<data>.+) \(sha256 (?P<sha256>[0-9a-f]{16})\)$", re.DOTALL
)


class RoundingText(NamedTuple):
    """What weights are to be rounded by, so that products on it stay."""

    #: Read with the model's own answers, in `int4` and `int8`. None takes in `int4` those that the
    #: model's folder keeps of what it was trained on, or text that a decoder writes itself; without
    #: either, and where there are none, each weight goes to its nearest.
    prompts: Sequence[str] | None
    #: Whose they are: follows `BY_GPTQ` in `quantization.detail`.
    named: str = ""
    #: Whether the model writes it whatever its folder keeps.
    own: bool = False


#: What nobody chose.
AS_KEPT = RoundingText(None)
#: `--gptq none`, and `--gptq own`.
NEAREST, OWN_TEXT = RoundingText(()), RoundingText(None, own=True)


def read_rounding_text(data: Path) -> RoundingText:
    """At most 4,096 prompts of a file of query records.

    Raises:
        DataError: it cannot be read.
    """
    return _read(data, f" on {data.resolve()}")


def read_trained_text(model_dir: Path) -> RoundingText | None:
    """The prompts that a checkpoint keeps of what it was trained on; None where it keeps none.

    Raises:
        DataError: they cannot be read.
    """
    path = model_dir / PROMPTS_NAME
    if not path.exists():
        return None
    try:
        return _read(path, _TRAINED)
    except DataError as error:
        raise DataError(
            f"{error}; weights are rounded by this file: put it back, delete it, or give --gptq"
        ) from error


def _read(data: Path, called: str) -> RoundingText:
    file = read_record_file(data)
    prompts = [record.prompt for record in subsample(file.records, MOST_PROMPTS)]
    return RoundingText(prompts, f"{called} (sha256 {file.sha256[:16]})")


def by_trained(detail: str) -> bool:
    """Whether a `quantization.detail` says that prompts were taken that its checkpoint keeps."""
    return BY_GPTQ + _TRAINED in detail


def text_again(detail: str) -> tuple[RoundingText, str | None]:
    """What another version of an artifact is to be rounded by, to be rounded as this one is.

    Prompts that this one was trained on are those that its own checkpoint keeps, of another
    version that one's.

    Args:
        detail: its `quantization.detail`.

    Returns:
        And why it is not the same text; None where it is.
    """
    if BY_GPTQ not in detail:
        return NEAREST, None
    if detail.endswith(BY_OWN_TEXT):
        return OWN_TEXT, None
    if by_trained(detail):
        return AS_KEPT, None
    given = _GIVEN.search(detail)
    if given is None:
        return AS_KEPT, "nothing says what text the version before was rounded by"
    data = Path(given["data"])
    if not data.is_file():
        return AS_KEPT, f"{data}: the text that the version before was rounded by is gone"
    try:
        found = read_rounding_text(data)
    except DataError as error:
        return AS_KEPT, str(error)
    if found.named != given[0].removeprefix(BY_GPTQ):
        return AS_KEPT, f"{data}: is another text than the version before was rounded by"
    return found, None
