"""What a request may be, in bytes and in values; knows no backend, no gRPC."""

from escalade.cloud.rpcs.checks.sampling import sampling_of, top_logprobs_of
from escalade.cloud.rpcs.checks.sizes import check_generate_size, check_score_size
from escalade.cloud.rpcs.checks.unparsed import Unparsed, bounded_parser
from escalade.cloud.rpcs.checks.validation import check_fingerprint, check_ids, check_score, check_score_items

__all__ = [
    "Unparsed",
    "bounded_parser",
    "check_fingerprint",
    "check_generate_size",
    "check_ids",
    "check_score",
    "check_score_items",
    "check_score_size",
    "sampling_of",
    "top_logprobs_of",
]
