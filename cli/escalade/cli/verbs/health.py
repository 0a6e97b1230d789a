"""`escalade health`: whether a server takes requests, for probes of containers; knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.errors import UnhealthyError
from escalade.cli.options import (
    CaCertOption,
    ClientCertOption,
    ClientKeyOption,
    JsonOption,
    PlaintextOption,
    TlsOption,
    plaintext_asked,
)

if TYPE_CHECKING:
    from escalade.edge.wire import Dialled

# A day; in what is endless, gRPC sees a deadline that has passed.
_MOST_S = 86_400.0


def health(
    address: Annotated[str, typer.Argument(help="HOST:PORT of `escalade serve` or `gateway`.")],
    model: Annotated[
        str, typer.Option("--model", help="Ask about the model of this name, not the server.")
    ] = "",
    deadline_s: Annotated[
        float,
        typer.Option(
            "--deadline-s", min=0.001, max=_MOST_S, help="Seconds to wait for the answer."
        ),
    ] = 5.0,
    ca_cert: CaCertOption = None,
    client_cert: ClientCertOption = None,
    client_key: ClientKeyOption = None,
    tls: TlsOption = False,
    plaintext: PlaintextOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a server takes requests; the exit code is 0 where it does, else 2."""
    from escalade.cli.output import print_json, result_console
    from escalade.edge.wire import ClientFiles, dial_to
    from escalade.v1.quoting import one_line

    if not model.isprintable():
        raise typer.BadParameter(f"--model: must be printable text, got {model[:80]!r}")
    clear = plaintext_asked(tls=tls, plaintext=plaintext)
    # A token is not asked for: load balancers have none.
    files = ClientFiles(None, client_cert, client_key)
    dialled = dial_to(address, ca_cert=ca_cert, plaintext=clear, files=files)
    status = one_line(_asked(dialled, model, deadline_s))
    if as_json:
        print_json({"address": address, "model": model, "status": status})
    if status != "SERVING":
        raise UnhealthyError(f"{address}: {status}")
    if not as_json:
        result_console().print(status)


def _asked(dialled: Dialled, model: str, deadline_s: float) -> str:
    """What it says of itself, or gRPC's code and words where it says nothing."""
    import grpc
    from grpc_health.v1 import health, health_pb2

    from escalade.edge.wire import mistrust_of

    with dialled.channel() as channel:
        check = channel.unary_unary(
            f"/{health.SERVICE_NAME}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=model), timeout=deadline_s)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.NOT_FOUND:
                return f"has no {model!r}"
            reason, said = mistrust_of(error.details()) or (code.name, error.details())
            return f"{reason}: {said}"
        status = health_pb2.HealthCheckResponse.ServingStatus
        if answer.status not in status.values():  # of a version that is not ours
            return f"status {answer.status}"
        return str(status.Name(answer.status))
