"""Runs the steps of a batch, and lets sequences choose by their own rows; knows no text, no queue.

The library draws for all sequences or for none, from one generator: a sequence that draws alike
whatever stands beside it has a chooser of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers.generation.continuous_batching.continuous_api import ContinuousBatchProcessor
from transformers.generation.continuous_batching.input_outputs import ContinuousBatchingIOs
from transformers.generation.continuous_batching.model_runner import ModelRunner

from escalade.cloud.backends.decoding.choosing import Chooser
from escalade.cloud.backends.query import TopRow


class Choosing(NamedTuple):
    """How one sequence chooses, and the likeliest tokens of each choice so far."""

    choose: Chooser
    top: list[TopRow]


class Runner(ModelRunner):
    """Gives sequences that choose for themselves their rows of a step.

    Args:
        processor: whose steps it is to run.
        ios: the processor's.
    """

    def __init__(self, processor: ContinuousBatchProcessor, ios: ContinuousBatchingIOs) -> None:
        super().__init__(
            logit_processor=processor.logit_processor,
            cb_config=processor.cb_config,
            cache=processor.cache,
            inputs_and_outputs=ios,
            do_sample=processor.do_sample,
            return_logprobs=processor.return_logprobs,
        )
        self._ios = ios
        #: By a sequence's name.
        self.choosing: dict[str, Choosing] = {}

    def _sample(self, scores: torch.Tensor, output_ids: torch.Tensor) -> None:
        super()._sample(scores, output_ids)
        if not self.choosing:
            return
        steps = self._ios.requests_in_batch
        rows = (step.state.request_id for step in steps if step.has_new_token)
        for row, name in enumerate(rows):
            own = self.choosing.get(name)
            if own is None:  # it has left, or is content with the likeliest
                continue
            choice = own.choose(scores[0, row])
            if own.choose.draws:
                output_ids[0, row] = choice.token
                # The library keeps them in one tensor of int32.
                logprob = torch.tensor(choice.logprob, dtype=torch.float32)
                output_ids[1, row] = logprob.view(torch.int32)
            if choice.top is not None:
                own.top.append(choice.top)


def runner_of(processor: ContinuousBatchProcessor) -> Runner | None:
    """Have a processor run by a `Runner`; None where a step is a graph, which runs no Python."""
    ios = processor.inputs_and_outputs
    if not isinstance(ios, ContinuousBatchingIOs) or processor.model_runner.pad_inputs:
        return None
    runner = Runner(processor, ios)
    processor.model_runner = runner
    return runner
