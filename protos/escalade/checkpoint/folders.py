"""What of a model's folder is refused at sight, before torch is loaded; reads no weights."""

from __future__ import annotations

from pathlib import Path

from escalade.checkpoint.errors import CheckpointError
from escalade.checkpoint.files import CONFIG_NAME, GENERATION_CONFIG_NAME, read_object
from escalade.checkpoint.locating import HUB, check_there


def check_model(model: str) -> None:
    """Refuse what is no model's folder, before what loads one is loaded; asks no hub.

    Args:
        model: see `locate`.

    Raises:
        CheckpointError: there is no such folder, or see `check_files`.
    """
    check_there(model)
    if not model.startswith(HUB):
        check_files(Path(model))


def check_settings(model: str) -> None:
    """Refuse a folder without a model's settings, before what reads one is loaded; asks no hub.

    Args:
        model: see `locate`; weights are not looked for.

    Raises:
        CheckpointError: there is no such folder, or it holds no settings.
    """
    check_there(model)
    if not model.startswith(HUB):
        _settings_of(Path(model))


def check_files(folder: Path) -> None:
    """Refuse what transformers would pass over or hand to another library.

    Raises:
        CheckpointError: settings or weights are missing, or are none that are taken; or an adapter
            lies beside them.
    """
    for path in sorted(folder.glob("adapter_*")):
        raise CheckpointError(
            f"{path}: an adapter is not taken: merge it into the weights first"
            " (peft: merge_and_unload, then save_pretrained), or take it out of the folder"
        )
    written = _settings_of(folder)
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder}: no *.safetensors; other weight formats are not loaded")
    for name in ("quantization_config", "compression_config"):
        if (quantized := written.get(name)) is not None:
            how = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
            raise CheckpointError(
                f"{folder}: {CONFIG_NAME}: {name}: weights quantized by {how} are not taken; save"
                " the model in float32, float16 or bfloat16"
            )
    if (folder / GENERATION_CONFIG_NAME).exists():
        read_object(folder / GENERATION_CONFIG_NAME)  # transformers would take another in its place


def _settings_of(folder: Path) -> dict[str, object]:
    if not (folder / CONFIG_NAME).is_file():
        raise CheckpointError(f"{folder}: not a model folder: {CONFIG_NAME} is missing")
    return read_object(folder / CONFIG_NAME)
