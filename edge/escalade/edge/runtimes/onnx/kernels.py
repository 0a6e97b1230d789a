"""Whose kernels compute an ONNX program: ONNX Runtime's own, or Arm's; knows no program.

KleidiAI's kernels for Arm round activations by row, ONNX Runtime's own by block: scores differ, and
a threshold that was set on another machine would not hold. So they are off, unless the artifact was
calibrated with them, on such a machine.
"""

from __future__ import annotations

import platform
from pathlib import Path

import onnxruntime as ort

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError

# What `platform.machine` says of 64-bit Arm: Linux, and macOS.
_ARM = frozenset({"aarch64", "arm64"})


def choose_kernels(options: ort.SessionOptions, program: Path, manifest: Manifest) -> None:
    """Set the kernels that a manifest's threshold is of.

    Raises:
        ArtifactError: this processor does not have them.
    """
    kleidiai = manifest.deferral.kernels == "kleidiai"
    if kleidiai and (machine := platform.machine()) not in _ARM:
        raise ArtifactError(
            f"{program}: kernels 'kleidiai' are of 64-bit Arm processors, this is one"
            f" of {machine}; `escalade calibrate --kernels portable` sets a threshold for any"
        )
    options.add_session_config_entry("mlas.disable_kleidiai", "0" if kleidiai else "1")
