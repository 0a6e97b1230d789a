"""Where a clone of the repository keeps what no wheel brings; knows no model and no page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Of an editable install: the folder of which this file is `cli/escalade/cli/demo/clone.py`.
_CODE: Final = Path(__file__).parents[4]


def in_clone(*parts: str, code: Path = _CODE) -> Path:
    """A path of the clone that the code runs from; of the folder we are in where it runs from none.

    Args:
        parts: of the path, from the clone's own folder.
        code: folder of the clone, where there is one.
    """
    of_code = code.joinpath(*parts)
    return of_code if (code / "pyproject.toml").is_file() else Path(*parts)
