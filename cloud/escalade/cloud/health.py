"""The standard health service, for names of a length that there are; knows no backend."""

from __future__ import annotations

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2

# A watch holds its request for as long as it is open.
_MAX_NAME_BYTES = 256

Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]


class Health(health.aio.HealthServicer):
    """Refuses what is larger than any service's name before it is kept."""

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Say how a service is."""
        await _check_size(request, context)
        return await super().Check(request, context)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> None:
        """Say how a service is, and again when that changes."""
        await _check_size(request, context)
        await super().Watch(request, context)


async def _check_size(request: health_pb2.HealthCheckRequest, context: Context) -> None:
    size = request.ByteSize()
    if size > _MAX_NAME_BYTES:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"service: must be at most {_MAX_NAME_BYTES} bytes, got {size}",
        )
