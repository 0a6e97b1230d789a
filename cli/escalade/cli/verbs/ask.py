"""`escalade ask` and `escalade record`: queries through the edge client; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import (
    ArtifactArgument,
    CaCertOption,
    CloudOption,
    DataOption,
    DeadlineOption,
    EarlyChoice,
    EarlyOption,
    JsonOption,
    LimitOption,
    MaxMemoryOption,
    PlaintextOption,
    SendTextOption,
    StopOption,
    ThreadsOption,
    ThresholdOption,
    TrustedKeyOption,
)

if TYPE_CHECKING:
    from escalade.edge import Answer, Sampling


# What a vote has a use for: its members' thresholds, streams and samples count for nothing.
_OF_ENSEMBLES = {
    *("artifact", "prompt", "cloud", "deadline_s", "send_text", "ca_cert", "plaintext"),
    *("threads", "json"),
}


def ask(
    context: typer.Context,
    artifact: Annotated[
        Path,
        typer.Argument(
            help="Artifact folder, or the file of an ensemble (`calibrate --rule vote`)."
        ),
    ],
    prompt: Annotated[str, typer.Argument(help="The query, e.g. 'g2p: cascade'.")],
    cloud: CloudOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = 10.0,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    plaintext: PlaintextOption = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Add the query's record to this trace.")
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Print the device's answer as it comes; with --cloud on stderr, as a draft.",
        ),
    ] = False,
    early: EarlyOption = EarlyChoice.off,
    stop: StopOption = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Draw tokens: above 0; 1 is the model's.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Draw from the k likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the likeliest that sum to this.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draw tokens; same seed, same tokens.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt through the model's chat template.")
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", help="System message; goes with --chat.")
    ] = None,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Answer one query: on the device, or from the cloud when the score says so.

    Exit code 2 when the cloud was needed and did not answer; the device's own answer is
    printed all the same, marked degraded. The same where --trace could not be written.
    """
    from escalade.cli.answers import print_pieces
    from escalade.edge import EdgeClient
    from escalade.edge.ensemble_client import EnsembleClient

    if artifact.is_file():
        _refuse_for_ensembles(context)
        with EnsembleClient.open(
            artifact,
            cloud=cloud,
            deadline_s=deadline_s,
            prompt_form="text" if send_text else "tokens",
            threads=threads,
            ca_cert=ca_cert,
            plaintext=plaintext or None,
        ) as voters:
            _show(voters.ask(prompt), json=json, asked_cloud=cloud is not None)
        return
    if stream and json:
        raise typer.BadParameter("a stream is no JSON document", param_hint="--stream")
    if system is not None and not chat:
        raise typer.BadParameter("goes with --chat", param_hint="--system")
    if stop and not all(stop):
        raise typer.BadParameter("must have at least 1 character", param_hint="--stop")
    sampling = _sampling(temperature, top_k, top_p, seed)
    said = {"role": "user", "content": prompt}
    messages = [said] if system is None else [{"role": "system", "content": system}, said]
    with EdgeClient.open(
        artifact,
        cloud=cloud,
        threshold=threshold,
        deadline_s=deadline_s,
        prompt_form="text" if send_text else "tokens",
        early=early.value,
        trace=trace,
        threads=threads,
        max_memory=max_memory,
        trusted_key=trusted_key,
        ca_cert=ca_cert,
        plaintext=plaintext or None,
    ) as client:
        turn = client.stream(messages if chat else prompt, sampling=sampling, stop=stop or ())
        if stream:
            print_pieces(turn, as_draft=cloud is not None)
        answer = turn.finish()
        assert answer is not None  # noqa: S101 - Ctrl-C is an exception
        printed = stream and cloud is None
        _show(answer, json=json, asked_cloud=cloud is not None, printed=printed)


def record(
    artifact: ArtifactArgument,
    cloud: Annotated[str, typer.Option("--cloud", help="HOST:PORT of `escalade serve`.")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="The trace to write (JSON Lines).")],
    limit: LimitOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = 10.0,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    plaintext: PlaintextOption = False,
    threads: ThreadsOption = 0,
    json: JsonOption = False,
) -> None:
    """Ask both tiers every query (shadow mode) and write a trace that can be replayed."""
    from escalade.cli.output import note_console, print_json, progress_bar
    from escalade.edge import EdgeClient
    from escalade.edge.base import read_records, subsample
    from escalade.edge.shadow import record_trace

    records = subsample(read_records(data), limit)
    with (
        EdgeClient.open(
            artifact,
            cloud=cloud,
            threshold=threshold,
            deadline_s=deadline_s,
            prompt_form="text" if send_text else "tokens",
            threads=threads,
            ca_cert=ca_cert,
            plaintext=plaintext or None,
        ) as client,
        progress_bar("recording") as tick,
    ):
        summary = record_trace(client, records, out, progress=tick)
    if json:
        print_json(summary)
        return
    note_console().print(
        f"{summary.queries} queries, {summary.deferred} would defer,"
        f" {summary.unanswered} without an answer from the cloud"
    )
    note_console().print(f"trace: {out}")


def _sampling(
    temperature: float | None, top_k: int | None, top_p: float | None, seed: int | None
) -> Sampling | None:
    from escalade.edge import Sampling

    if temperature is None and top_k is None and top_p is None and seed is None:
        return None
    try:
        return Sampling(
            temperature=1.0 if temperature is None else temperature,
            top_k=top_k or 0,
            top_p=1.0 if top_p is None else top_p,
            seed=seed or 0,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _show(answer: Answer, *, json: bool, asked_cloud: bool, printed: bool = False) -> None:
    from escalade.cli.answers import print_answer_json, show_answer
    from escalade.cli.errors import DegradedError, UntracedError

    if json:
        print_answer_json(answer)
    else:
        show_answer(answer, asked_cloud=asked_cloud, printed=printed)
    if answer.outcome == "degraded":
        untraced = f"; {answer.trace_error}" if answer.trace_error else ""
        raise DegradedError(f"degraded: {answer.reason}{untraced}")
    if answer.trace_error is not None:
        raise UntracedError(answer.trace_error)


def _refuse_for_ensembles(context: typer.Context) -> None:
    for name in set(context.params) - _OF_ENSEMBLES:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("not for an ensemble", param_hint=option)
