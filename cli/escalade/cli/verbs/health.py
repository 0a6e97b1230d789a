"""`escalade health`: whether a server takes requests, for probes of containers; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.errors import UnhealthyError
from escalade.cli.options import CaCertOption, JsonOption, PlaintextOption, TlsOption


def health(
    address: Annotated[str, typer.Argument(help="HOST:PORT of `escalade serve` or `gateway`.")],
    model: Annotated[
        str, typer.Option("--model", help="Ask about the model of this name, not the server.")
    ] = "",
    deadline_s: Annotated[
        float, typer.Option("--deadline-s", min=0.001, help="Seconds to wait for the answer.")
    ] = 5.0,
    ca_cert: CaCertOption = None,
    tls: TlsOption = False,
    plaintext: PlaintextOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a server takes requests; the exit code is 0 where it does, else 2."""
    from escalade.cli.output import print_json, result_console
    from escalade.v1.quoting import one_line

    status = one_line(_asked(address, model, deadline_s, ca_cert, tls=tls, plaintext=plaintext))
    if as_json:
        print_json({"address": address, "model": model, "status": status})
    if status != "SERVING":
        raise UnhealthyError(f"{address}: {status}")
    if not as_json:
        result_console().print(status)


def _asked(
    address: str,
    model: str,
    deadline_s: float,
    ca_cert: Path | None,
    *,
    tls: bool,
    plaintext: bool,
) -> str:
    """What it says of itself, or gRPC's code and words where it says nothing."""
    import grpc
    from grpc_health.v1 import health, health_pb2

    from escalade.v1.address import parse_address
    from escalade.v1.channel import client_options, plaintext_of, speaks_tls, target_of

    try:
        to = parse_address(address)
        clear = plaintext_of(tls=tls or None, plaintext=plaintext or None)
        speaks = speaks_tls(to.host, plaintext=clear, ca_cert=ca_cert)
    except ValueError as error:
        raise UnhealthyError(str(error)) from error
    target, options = target_of(to), client_options(to)
    if speaks:
        roots = None if ca_cert is None else ca_cert.read_bytes()
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)
    else:
        channel = grpc.insecure_channel(target, options)
    with channel:
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
            return f"{code.name}: {error.details()}"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
