"""One torch thread for every training test: the models are tiny, and waiting costs more."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
