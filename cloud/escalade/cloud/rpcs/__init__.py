"""What each RPC checks, computes and answers; knows no particular backend."""

from escalade.cloud.rpcs import validation
from escalade.cloud.rpcs.draft import compare_draft
from escalade.cloud.rpcs.once import Answers
from escalade.cloud.rpcs.scoring import Send, send_scores
from escalade.cloud.rpcs.status import answer_or_abort

__all__ = ["Answers", "Send", "answer_or_abort", "compare_draft", "send_scores", "validation"]
