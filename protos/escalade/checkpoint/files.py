"""The settings files of a model's folder, as they are written; knows no model."""

from __future__ import annotations

import json
from pathlib import Path

from escalade.checkpoint.errors import CheckpointError, first_line

CONFIG_NAME, GENERATION_CONFIG_NAME = "config.json", "generation_config.json"


def read_object(path: Path) -> dict[str, object]:
    """What a JSON file holds.

    Raises:
        CheckpointError: it cannot be read, or holds no object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return content
