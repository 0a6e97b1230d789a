"""Names the prompts that a checkpoint keeps of what it was trained on; reads none.

They are query records without references (JSON Lines): `escalade train` writes them, and whoever
rounds the weights without being given text takes them.
"""

from __future__ import annotations

PROMPTS_NAME = "training-prompts.jsonl"
#: That are kept, and rounded by, at most: what a small model is tuned by. Of 512 it learned little
#: (docs/widths.md).
MOST_PROMPTS = 4096
