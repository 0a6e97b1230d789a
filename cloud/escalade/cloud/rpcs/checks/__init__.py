"""What a request may be, in bytes and in values; knows no backend, no gRPC."""

from escalade.cloud.rpcs.checks.sampling import sampling_of, top_logprobs_of
from escalade.cloud.rpcs.checks.sizes import check_generate_size, check_score_size
from escalade.cloud.rpcs.checks.unparsed import Unparsed, bounded_parser
from escalade.cloud.rpcs.checks.validation import (
    check_expected_model,
    check_fingerprint,
    check_ids,
    check_priority,
    check_score,
    check_score_items,
    max_new_tokens_of,
    prompt_ids_of,
    stop_texts_of,
)

__all__ = [
    "Unparsed",
    "bounded_parser",
    "check_expected_model",
    "check_fingerprint",
    "check_generate_size",
    "check_ids",
    "check_priority",
    "check_score",
    "check_score_items",
    "check_score_size",
    "max_new_tokens_of",
    "prompt_ids_of",
    "sampling_of",
    "stop_texts_of",
    "top_logprobs_of",
]
