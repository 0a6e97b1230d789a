"""Finds the folder of a model by what a user typed: a folder, or a hub's name where he says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download

from escalade.checkpoint.errors import CheckpointError, first_line
from escalade.checkpoint.prompts import PROMPTS_NAME

#: Before the name of a model on the hub; without it nothing is looked up off this machine.
HUB = "hub:"
# What loading needs from a hub repository, and what rounding takes: no pickled weights, no code.
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", PROMPTS_NAME)
# How the hub names a model: ORGANISATION/NAME.
_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+$")


class Located(NamedTuple):
    """A model's folder on this machine, and what it is called."""

    name: str
    folder: Path


def locate(model: str) -> Located:
    """The folder of a model, fetched first where a user asks for one of the hub.

    Args:
        model: a folder, or `hub:ORGANISATION/NAME`.

    Raises:
        CheckpointError: there is no such folder, or the hub has no such model.
    """
    check_there(model)
    if not model.startswith(HUB):
        folder = Path(model)
        return Located(folder.resolve().name, folder)
    name = model.removeprefix(HUB)
    try:
        return Located(name, Path(snapshot_download(name, allow_patterns=list(_HUB_FILES))))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: no model on the hub: {first_line(error)}") from error


def check_there(model: str) -> None:
    """Refuse a folder that is not there, before what loads one is loaded; asks no hub.

    Args:
        model: see `locate`.

    Raises:
        CheckpointError: there is no such folder.
    """
    if not model.startswith(HUB) and not Path(model).is_dir():
        hint = f"; a model of the hub is named {HUB}{model}" if _ON_HUB.match(model) else ""
        raise CheckpointError(f"{model}: no such folder{hint}")
