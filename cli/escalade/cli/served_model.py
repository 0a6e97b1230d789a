"""Which backend a model's name and its options ask for; knows no port, no client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from escalade.cloud.backends import BackendFactory, Scaling


class OpenaiOptions(NamedTuple):
    """What is said of a server elsewhere; see `escalade.cloud.backends.openai_factory`."""

    model: str | None
    tokenizer: str | None
    api_key_file: Path | None
    context_length: int | None
    parameters: int | None
    at_once: int | None


def backend_named(
    model: str,
    *,
    say: Callable[[str], None],
    threads: int,
    device: str,
    dtype: str,
    deterministic: bool,
    kv_memory: int | None,
    openai: OpenaiOptions,
    ray: str | None,
    replicas: str | None,
) -> BackendFactory:
    """The factory of what computes.

    Args:
        model: a folder, `hub:NAME` or `openai:URL`.
        say: told in a line what was allocated or started.
        threads: of torch; 0 is the usable cores, or one in each replica.
        device: see `process_factory`, as the next three.
        dtype: see there.
        deterministic: see there.
        kv_memory: bytes.
        openai: of `openai:` alone.
        ray: a cluster's `HOST:PORT`, `auto` or `local`; None computes in one on this machine.
        replicas: `LEAST:MOST`, of `ray` alone; None is one.

    Raises:
        BadParameter: an option is of another kind of model, or no option at all.
    """
    from escalade.cloud.backends import (
        OPENAI_SCHEME,
        openai_factory,
        process_factory,
        ray_factory,
        usable_cores,
    )

    placed = {"threads": threads, "device": device != "auto", "dtype": dtype != "auto"}
    alone = {"deterministic": deterministic, "kv-memory": kv_memory}
    if model.startswith(OPENAI_SCHEME):
        elsewhere = {"ray": ray, "replicas": replicas}
        _refuse({**placed, **alone, **elsewhere}, "a folder or hub: models")
        return openai_factory(model.removeprefix(OPENAI_SCHEME), **openai._asdict())
    of_theirs = {name.replace("_", "-"): value for name, value in openai._asdict().items()}
    _refuse(of_theirs, f"{OPENAI_SCHEME} models")
    if ray is not None:
        _refuse(alone, "models in one process")
        return ray_factory(
            model,
            cluster=None if ray == "local" else ray,
            scaling=_scaling(replicas or "1:1", threads or 1, gpus=device.startswith("cuda")),
            device=device,
            dtype=dtype,
            say=say,
        )
    _refuse({"replicas": replicas}, "--ray")
    return process_factory(
        model,
        threads=threads or usable_cores(),
        device=device,
        dtype=dtype,
        deterministic=deterministic,
        kv_bytes=kv_memory,
        say=say,
        before="escalade.cli.process.quiet:quiet_third_party",
    )


def _refuse(options: Mapping[str, object], whose: str) -> None:
    """Refuse options of another kind of model.

    Raises:
        BadParameter: names the first that was given.
    """
    for option, value in options.items():
        if value:
            raise typer.BadParameter(f"is an option of {whose} alone", param_hint=f"--{option}")


def _scaling(replicas: str, cores: int, *, gpus: bool) -> Scaling:
    """What `--replicas` says.

    Raises:
        BadParameter: it is no LEAST:MOST.
    """
    from escalade.cloud.backends import Scaling

    least, _, most = replicas.partition(":")
    if not (least.isdecimal() and most.isdecimal()):
        raise typer.BadParameter(
            f"must be LEAST:MOST, e.g. 1:4, got {replicas!r}", param_hint="--replicas"
        )
    return Scaling(least=int(least), most=int(most), cores=cores, gpus=float(gpus))
