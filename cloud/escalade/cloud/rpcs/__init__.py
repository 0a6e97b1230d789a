"""What each RPC checks, asks of a backend and sends; knows no particular backend."""

from escalade.cloud.rpcs.checks import (
    Unparsed,
    bounded_parser,
    check_generate_size,
    check_score,
    check_score_size,
)
from escalade.cloud.rpcs.client import OWNER, PEER_KEY, Peer, claim_of, host_of, peer_of, writer
from escalade.cloud.rpcs.drain import Drain
from escalade.cloud.rpcs.generate import key_of, query_of, response_of, send_stream
from escalade.cloud.rpcs.once import SharedAnswers, keep_s_of, received_of
from escalade.cloud.rpcs.scoring import score_queries, send_scores
from escalade.cloud.rpcs.status import CATALOGUE, Send, end_with, reason_of_status
from escalade.cloud.rpcs.verify import check_verify, verdict_response

__all__ = [
    "CATALOGUE",
    "OWNER",
    "PEER_KEY",
    "Drain",
    "Peer",
    "Send",
    "SharedAnswers",
    "Unparsed",
    "bounded_parser",
    "check_generate_size",
    "check_score",
    "check_score_size",
    "check_verify",
    "claim_of",
    "end_with",
    "host_of",
    "keep_s_of",
    "key_of",
    "peer_of",
    "query_of",
    "reason_of_status",
    "received_of",
    "response_of",
    "score_queries",
    "send_scores",
    "send_stream",
    "verdict_response",
    "writer",
]
