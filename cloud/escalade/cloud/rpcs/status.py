"""How each refusal travels: google.rpc.Status with a stable reason; knows no backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, NoReturn, TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from escalade.cloud import errors
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line
from escalade.v1.reasons import name_of_reason, reason_of_name

DOMAIN = "escalade.v1"

_LOG = logging.getLogger(__name__)

# How long the end of an RPC is waited for.
_STATUS_S = 1.0

_LOGGED = "_escalade_logged"

T = TypeVar("T")
Req = TypeVar("Req")
Resp = TypeVar("Resp")

_Metadata = tuple[tuple[str, str | bytes], ...]
#: Sends a message of a stream; returns when the transport has taken it.
Send = Callable[[T], Awaitable[None]]


class Entry(NamedTuple):
    """How one kind of refusal travels."""

    code: grpc.StatusCode
    reason: pb.ErrorReason


_CODE = grpc.StatusCode

#: Every kind of refusal, once; as the comments of `ErrorReason` in cascade.proto have it.
CATALOGUE = MappingProxyType(
    {
        errors.PromptEmptyError: Entry(_CODE.INVALID_ARGUMENT, pb.ERROR_REASON_PROMPT_EMPTY),
        errors.PromptTooLongError: Entry(_CODE.INVALID_ARGUMENT, pb.ERROR_REASON_PROMPT_TOO_LONG),
        errors.TokenOutOfRangeError: Entry(
            _CODE.INVALID_ARGUMENT, pb.ERROR_REASON_TOKEN_OUT_OF_RANGE
        ),
        errors.OptionOutOfRangeError: Entry(
            _CODE.INVALID_ARGUMENT, pb.ERROR_REASON_OPTION_OUT_OF_RANGE
        ),
        errors.TokenizerMismatchError: Entry(
            _CODE.FAILED_PRECONDITION, pb.ERROR_REASON_TOKENIZER_MISMATCH
        ),
        errors.ModelMismatchError: Entry(_CODE.FAILED_PRECONDITION, pb.ERROR_REASON_MODEL_MISMATCH),
        errors.LoopError: Entry(_CODE.FAILED_PRECONDITION, pb.ERROR_REASON_LOOP),
        errors.StreamChangedError: Entry(_CODE.FAILED_PRECONDITION, pb.ERROR_REASON_STREAM_CHANGED),
        errors.QueueFullError: Entry(_CODE.RESOURCE_EXHAUSTED, pb.ERROR_REASON_QUEUE_FULL),
        errors.QuotaExceededError: Entry(_CODE.RESOURCE_EXHAUSTED, pb.ERROR_REASON_QUOTA_EXCEEDED),
        errors.UnauthenticatedError: Entry(_CODE.UNAUTHENTICATED, pb.ERROR_REASON_UNAUTHENTICATED),
        errors.DrainingError: Entry(_CODE.UNAVAILABLE, pb.ERROR_REASON_DRAINING),
        errors.EngineDeadError: Entry(_CODE.UNAVAILABLE, pb.ERROR_REASON_ENGINE_DEAD),
        errors.NotSupportedError: Entry(_CODE.UNIMPLEMENTED, pb.ERROR_REASON_NOT_SUPPORTED),
        # A client sees its own deadline first; this one is for logs and proxies.
        errors.DeadlineError: Entry(_CODE.DEADLINE_EXCEEDED, pb.ERROR_REASON_DEADLINE_EXCEEDED),
    }
)


def status_of(error: errors.RequestError) -> status_pb2.Status:
    """The google.rpc.Status of a refusal: ErrorInfo, then BadRequest or RetryInfo."""
    code, reason = CATALOGUE[type(error)]
    number, _ = code.value
    # What is quoted of a request has its bounds where it is quoted; this holds for the rest.
    message = one_line(str(error))
    status = status_pb2.Status(code=number, message=message)
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=name_of_reason(reason))
    status.details.add().Pack(info)
    if isinstance(error, errors.FieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=one_line(error.field), description=message
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.ComeBackError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(retry)
    return status


def reason_of_status(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The reason that `status_of` put into a status; empty where it is not one of the contract's.

    Args:
        metadata: the trailing metadata of an RPC that has ended here.
    """
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and reason_of_name(info.reason):
                    return str(info.reason)
    return ""


def _sent(error: errors.RequestError) -> tuple[grpc.StatusCode, str, _Metadata]:
    """Code, details and trailing metadata of a refusal."""
    status = rpc_status.to_status(status_of(error))
    return status.code, status.details, tuple(status.trailing_metadata or ())


# In a flood one status is sent many times over; to make it takes 17 us (x86-64).
@lru_cache(maxsize=16)
def _come_back(
    kind: type[errors.ComeBackError], message: str, retry_after_s: float
) -> tuple[grpc.StatusCode, str, _Metadata]:
    code, details, metadata = _sent(kind(message, retry_after_s))
    # gRPC's own retry policy reads this key, not RetryInfo (gRFC A6).
    return code, details, (*metadata, ("grpc-retry-pushback-ms", str(round(retry_after_s * 1e3))))


async def end_with(context: grpc.aio.ServicerContext[Req, Resp], error: Exception) -> NoReturn:
    """End an RPC: with the status of a `RequestError`, for a bug with an internal error.

    Raises:
        AbortError: what gRPC ends a handler with.
        CancelledError: the status waits behind messages that were not read.
    """
    if isinstance(error, errors.ComeBackError):
        sent = _come_back(type(error), str(error), error.retry_after_s)  # type: ignore[arg-type]  # a class has a hash, whatever mypy reads
    elif isinstance(error, errors.RequestError):
        sent = _sent(error)
    else:
        # gRPC would send its text to the client.
        _log_once(error)
        sent = grpc.StatusCode.INTERNAL, "server: internal error", ()
    try:
        # A client that does not read is not waited for, and gets the status when it does.
        async with asyncio.timeout(_STATUS_S):
            await context.abort(*sent)
    except TimeoutError as late:
        raise asyncio.CancelledError from late


def _log_once(error: Exception) -> None:
    """Log a defect with its traceback; of all who follow one computation it reaches each."""
    if not hasattr(error, _LOGGED):
        setattr(error, _LOGGED, True)
        _LOG.error("an RPC failed", exc_info=error)
