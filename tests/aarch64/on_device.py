"""Runs inside the arm64 tree: plays an artifact's golden prompts; knows no host, no network.

The argument is the artifact's folder. Prints one JSON object; what it found is judged outside.
"""

from __future__ import annotations

import ctypes
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from escalade.edge import EdgeError
from escalade.edge.deferral.rules import mean_nll
from escalade.edge.generation.artifact import Artifact

# AT_HWCAP and HWCAP_ASIMDDP: Linux, include/uapi/linux/auxvec.h and
# arch/arm64/include/uapi/asm/hwcap.h.
_AT_HWCAP = 16
_HWCAP_DOT_PRODUCT = 1 << 20
_PACKAGES = ("escalade", "numpy", "onnxruntime", "tokenizers", "grpcio", "protobuf", "msgspec")


def main() -> None:
    """Play the artifact named on the command line."""
    answers, error = [], None
    try:
        artifact = Artifact.open(Path(sys.argv[1]))
        for golden in artifact.manifest.golden:
            steps = artifact.generate(golden.prompt_ids)
            answers.append(
                {
                    "prompt": golden.prompt,
                    "prompt_ids": artifact.encode(golden.prompt),
                    "token_ids": [step.token_id for step in steps],
                    "nll": mean_nll([step.logprob for step in steps]),
                }
            )
        artifact.golden.check_all()  # what `escalade store verify` does
    except EdgeError as problem:
        error = str(problem)
    found = {
        "machine": platform.machine(),
        "dot_product": has_dot_product(),
        "system": f"Debian {Path('/etc/debian_version').read_text().strip()}, Python"
        f" {platform.python_version()}, glibc {platform.libc_ver()[1]}",
        "versions": {package: version(package) for package in _PACKAGES},
        "answers": answers,
        "error": error,
    }
    json.dump(found, sys.stdout)


def has_dot_product() -> bool:
    """Whether the kernel says that the processor has SDOT and UDOT; libraries ask it so."""
    library = ctypes.CDLL(None)
    library.getauxval.restype = ctypes.c_ulong
    return bool(library.getauxval(ctypes.c_ulong(_AT_HWCAP)) & _HWCAP_DOT_PRODUCT)


if __name__ == "__main__":
    main()
