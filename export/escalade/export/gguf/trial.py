"""Has llama.cpp read a GGUF file in a process of its own, which a damaged one ends; knows no model.

llama.cpp asserts where others raise: on words, merges and sizes that contradict each other it ends
the process that reads them. So somebody else's file is first read in one that may end.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from escalade.export.errors import ModelError

_ROOM = 32  # tokens of the trial's cache; the text has no more


def check_survives(path: Path) -> None:
    """Read the file's words and weights once, and a text with them.

    What llama.cpp refuses in words is left to whoever opens the file next, and says them.

    Raises:
        ModelError: the process that read it was ended.
    """
    done = subprocess.run(  # noqa: S603 - this file, with a path
        [sys.executable, "-P", __file__, os.fspath(path)],
        capture_output=True,
        check=False,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # else it calls a debugger first
    )
    if done.returncode < 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        # Of an assertion: its file, without where that was compiled.
        why = ": " + re.sub(r"^\S*/", "", said[-1]) if said else ""
        raise ModelError(
            f"{path}: damaged: llama.cpp ends while it reads it"
            f" ({signal.Signals(-done.returncode).name}{why})"
        )


def _read(path: str) -> None:
    from escalade.edge.runtimes import open_llamacpp

    llama_cpp = open_llamacpp().llama_cpp
    how = llama_cpp.llama_model_default_params()
    how.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), how)
    if not model:
        return
    room = llama_cpp.llama_context_default_params()
    room.n_ctx = room.n_batch = _ROOM
    context = llama_cpp.llama_init_from_model(model, room)
    words = llama_cpp.llama_model_get_vocab(model)
    ids = (ctypes.c_int32 * _ROOM)()
    text = b" Hello, 1 + 1."
    count = llama_cpp.llama_tokenize(words, text, len(text), ids, _ROOM, True, True)
    if context and count > 0:
        llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(ids, count))


if __name__ == "__main__":
    _read(sys.argv[1])
