"""Keeps known third-party messages off the terminal, and bars off all else; imports no torch.

With torch 2.13, `import transformers` pulls in torchao, which tries GPU libraries that a
CPU wheel cannot load and registers enums in a way torch now warns about. None of these
lines tells our user anything. Each is dropped by a filter on the logger that writes it
and on its text, so every other message of those libraries still comes through.
"""

from __future__ import annotations

import logging
import os
import sys

#: Logger, and what its message holds.
_NOISE = (
    ("torchao", "Failed to load "),
    ("torchao.kernel.intmm", "Detected no triton"),
    ("torch.utils._pytree", "is an Enum subclass and is now natively supported"),
    # Of a home that takes no files: it keeps its fonts in a temporary folder then.
    ("matplotlib", "mkdir -p failed for path"),
    ("matplotlib", "created a temporary cache directory"),
    ("transformers.training_args", "The speedups for torchdynamo mostly come with GPU"),
    # Of two checkpoints within a second: it goes by their numbers then, as we do.
    ("transformers.trainer_utils", "mtime may not be reliable on this filesystem"),
    # It is started in a thread; signals are ours.
    ("ray._private.worker", "SIGTERM handler is not set because current thread"),
    # As it should be, and not for the user of a server to opt out of.
    ("ray._private.authentication.authentication_token_setup", "Token authentication is enabled"),
)


class _Drop(logging.Filter):
    """Refuses the records whose message holds a given text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self.text not in record.getMessage()


def quiet_third_party() -> None:
    """Drop the known messages from now on; calling it again changes nothing."""
    # It writes of failed handshakes and taken ports past every logger; what they mean for us we say
    # ourselves. It looks at this as it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.stderr is None or not sys.stderr.isatty():
        # A bar redraws its line, which a file or a program would get once for each step. Every
        # library's are tqdm's, which looks at this as it is imported.
        os.environ.setdefault("TQDM_DISABLE", "1")
    for name, text in _NOISE:
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Drop) and known.text == text for known in logger.filters):
            logger.addFilter(_Drop(text))
