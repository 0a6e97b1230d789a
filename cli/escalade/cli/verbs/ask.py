"""`escalade ask`: one query through a cascade; knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import (
    CaCertOption,
    CascadeArgument,
    ClientCertOption,
    ClientKeyOption,
    CloudOption,
    DeadlineOption,
    EarlyChoice,
    EarlyOption,
    JsonOption,
    MaxMemoryOption,
    OnOutageOption,
    OutboxOption,
    PlaintextOption,
    SendTextOption,
    StopOption,
    ThreadsOption,
    ThresholdOption,
    TlsOption,
    TokenFileOption,
    TraceOption,
    TrustedKeyOption,
)

if TYPE_CHECKING:
    from escalade.edge import Query, Sampling


def ask(
    cascade: CascadeArgument,
    prompt: Annotated[str, typer.Argument(help="The query, e.g. 'g2p: cascade'.")],
    cloud: CloudOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = None,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    token_file: TokenFileOption = None,
    client_cert: ClientCertOption = None,
    client_key: ClientKeyOption = None,
    tls: TlsOption = False,
    plaintext: PlaintextOption = False,
    trace: TraceOption = None,
    on_outage: OnOutageOption = None,
    outbox: OutboxOption = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Print the device's answer as it comes; with a tier above on stderr, as a draft.",
        ),
    ] = False,
    early: EarlyOption = EarlyChoice.off,
    stop: StopOption = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = None,
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
        int | None, typer.Option("--seed", min=0, help="Draw tokens; same seed, same tokens.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="What kind of query it is, for a policy's stay_tasks."),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the prompt through the models' chat templates.")
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", help="System message; goes with --chat.")
    ] = None,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Answer one query: on the device, or from a tier above when the score says so.

    Exit code 2 when a tier was needed and did not answer, or the cascade's policy kept the query
    here; the best answer so far is printed all the same, marked degraded. The same where --trace
    could not be written.
    """
    from contextlib import nullcontext

    from escalade.cli.destinations import check_destinations
    from escalade.cli.errors import DegradedError, UntracedError
    from escalade.cli.lines import (
        is_streamed,
        print_answer_json,
        print_deltas,
        show_answer,
        waits_shown,
    )
    from escalade.cli.options import open_options
    from escalade.edge import EdgeClient

    if stream and json:
        raise typer.BadParameter("a stream is no JSON document", param_hint="--stream")
    if system is not None and not chat:
        raise typer.BadParameter("goes with --chat", param_hint="--system")
    check_destinations({"--trace": trace, "--outbox": outbox})
    query = _query(
        prompt,
        system,
        chat=chat,
        sampling=_sampling(temperature, top_k, top_p, seed),
        stop=tuple(stop or ()),
        max_new_tokens=max_new_tokens,
        task=task or "",
    )
    options = open_options(
        threshold=threshold,
        deadline_s=deadline_s,
        send_text=send_text,
        ca_cert=ca_cert,
        token_file=token_file,
        client_cert=client_cert,
        client_key=client_key,
        tls=tls,
        plaintext=plaintext,
        early=early,
        threads=threads,
        max_memory=max_memory,
        trusted_key=trusted_key,
        on_outage=on_outage,
        outbox=outbox,
    )
    with EdgeClient.open(cascade, options, cloud=cloud, trace=trace) as client:
        tiers = client.cascade.header(known_only=True).tiers
        # A draft that is shown says by itself how far it is.
        with nullcontext() if stream else waits_shown(client.cascade) as told:
            run = client.stream(query, told=told)
            if stream:
                print_deltas(run, as_draft=not is_streamed(tiers))
            answer = run.finish()
        assert answer is not None  # noqa: S101 - Ctrl-C is an exception
    if json:
        print_answer_json(answer, tiers)
    else:
        show_answer(answer, tiers, printed=stream and is_streamed(tiers))
    if answer.outcome == "degraded":
        kept = f"kept in the outbox as {answer.kept}" if answer.kept else answer.outbox_error
        also = "".join(f"; {one}" for one in (kept, answer.trace_error) if one)
        raise DegradedError(f"degraded: {answer.reason}{also}")
    if answer.trace_error is not None:
        raise UntracedError(answer.trace_error)


def _query(
    prompt: str,
    system: str | None,
    *,
    chat: bool,
    sampling: Sampling | None,
    stop: tuple[str, ...],
    max_new_tokens: int | None,
    task: str,
) -> Query:
    from escalade.edge import Query

    said = {"role": "user", "content": prompt}
    messages = (said,) if system is None else ({"role": "system", "content": system}, said)
    try:
        return Query(
            text="" if chat else prompt,
            messages=messages if chat else (),
            sampling=sampling,
            stop=stop,
            max_new_tokens=max_new_tokens,
            task=task,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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
