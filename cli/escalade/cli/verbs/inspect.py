"""`escalade inspect`: what an artifact is and promises, in one screen; loads no program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from escalade.cli.options import CascadeArgument, JsonOption, TrustedKeyOption

if TYPE_CHECKING:
    from escalade.edge.artifact import Manifest, MemoryNeeded
    from escalade.edge.deferral import CalibrationEntry, DeferralEntry, EarlyEntry, Goal, Measured

# A screen has room for so many.
_SHOWN_LABELS = 12


def inspect(
    cascade: CascadeArgument, trusted_key: TrustedKeyOption = None, json: JsonOption = False
) -> None:
    """Show an artifact (model, size, memory, rule, calibration, what it guarantees) or a cascade.

    Every file is held against its hash; no program is loaded (`escalade store verify` does).
    """
    from escalade.cli.lines import cascade_calibration_lines, rows_of, summary_of
    from escalade.cli.output import print_json, signature_words
    from escalade.edge.artifact import (
        check_signature,
        memory_needed,
        read_manifest,
        signature_state,
    )

    if cascade.exists() and not cascade.is_dir():
        summary = summary_of(cascade, trusted_key)
        if json:
            print_json(summary)
        else:
            rows = rows_of(summary)
            if summary.calibration is not None:
                names = [tier.name for tier in summary.tiers]
                found = cascade_calibration_lines(summary.calibration, names, summary.currency)
                rows.append(("calibration", found))
            _show(rows)
        return
    if trusted_key is not None:
        check_signature(cascade, trusted_key)
    manifest = read_manifest(cascade)
    memory = memory_needed(cascade, manifest)
    signature = signature_state(cascade, trusted_key)
    if json:
        print_json(
            {
                "manifest": manifest,
                "bytes": manifest.total_bytes,
                "memory": memory._asdict() | {"total": memory.total},
                "signature": signature,
            }
        )
    else:
        _show(_rows(manifest, memory, signature=signature_words(signature, trusted_key)))


def _show(rows: list[tuple[str, list[str]]]) -> None:
    from rich.table import Table

    from escalade.cli.output import harmless, result_console

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in rows:
        # Whoever wrote the manifest is not to move the reader's cursor.
        table.add_row(harmless(name), "\n".join(map(harmless, lines)))
    result_console().print(table, soft_wrap=False)


def _rows(
    manifest: Manifest, memory: MemoryNeeded, *, signature: str
) -> list[tuple[str, list[str]]]:
    from escalade.edge.base import counted

    model, parity, stored = manifest.model, manifest.parity, manifest.quantization
    kind = _kind(manifest)
    against = "scikit-learn's" if manifest.linear is not None else "torch's"
    against += " labels" if manifest.classifier else " tokens"
    chat = "" if model.chat is None else ", chat template"
    files = ", ".join(f"{name} {entry.bytes:,}" for name, entry in manifest.files.items())
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    rows = {
        "model": f"{model.name}, {model.parameters:,} parameters, {kind}{chat}",
        "revision": f"weights {model.revision[:12]}, tokenizer {model.tokenizer_fingerprint[:12]}",
        "format": f"{manifest.format}, {stored.scheme}: {stored.detail}",
        "files": f"{manifest.total_bytes:,} bytes: {files}",
        "memory": f"at most {_mib(memory.total)} when open: weights {_mib(memory.weights)}, keys"
        f" and values {_mib(memory.cache)}, working {_mib(memory.working)}",
        "window": f"{model.window:,} tokens, at most {model.max_new_tokens:,} for the response",
        "parity": f"{parity.same_tokens} of {counted(parity.prompts, 'prompt')} with {against},"
        f" |delta NLL| mean {parity.mean_abs_delta_nll:.2g}, most {parity.max_abs_delta_nll:.2g};"
        f" {counted(len(manifest.golden), 'golden prompt')}",
        "made": f"{manifest.created} with {versions}",
        "signature": signature,
    }
    if manifest.embedding:
        embedding = manifest.embedding
        rows["window"] = f"{model.window:,} tokens of a text"
        rows["parity"] = (
            f"no number more than {embedding.max_abs_delta:.2g} from torch's;"
            f" {counted(len(embedding.golden), 'pair')} of golden texts"
        )
    shown = [(name, [text]) for name, text in rows.items()]
    if stored.budget:
        from escalade.cli.lines import spent_lines

        shown[2][1].extend(spent_lines(stored.budget))
    if manifest.embedding:
        return shown
    return [*shown[:6], ("deferral", deferral_lines(manifest.deferral)), *shown[6:]]


def _kind(manifest: Manifest) -> str:
    entry = manifest.classifier
    if manifest.embedding:
        return f"sentence encoder: {manifest.embedding.dimensions} numbers for a text"
    if entry is None:
        return "decoder" if manifest.encoder is None else "encoder-decoder"
    what = "linear classifier" if manifest.linear is not None else "encoder that classifies"
    shown = ", ".join(entry.labels[:_SHOWN_LABELS])
    more = f" and {len(entry.labels) - _SHOWN_LABELS} more" * (len(entry.labels) > _SHOWN_LABELS)
    return f"{what}: {shown}{more}"


def deferral_lines(entry: DeferralEntry) -> list[str]:
    """What a manifest says of deferral, in words."""
    if entry.threshold is None:
        return [f"rule {entry.rule}, not calibrated"]
    lines = [f"rule {entry.rule}, threshold {entry.threshold:.4f}"]
    lines += calibration_lines(entry.calibration)
    if entry.kernels:
        lines.append(f"computed with {entry.kernels} kernels, on 64-bit Arm alone")
    return lines if entry.early is None else [*lines, *_early_lines(entry.early)]


def calibration_lines(entry: CalibrationEntry | None) -> list[str]:
    """How a threshold was found, what it promises and what it does, in words."""
    from escalade.edge.base import counted

    if entry is None:
        return ["set by hand"]
    from escalade.cli.lines import all_or_none_lines

    source = f"from {entry.data} (sha256 {entry.data_sha256[:12]}), {entry.date}, seed {entry.seed}"
    if entry.trained:
        source += f"; router trained on {counted(entry.trained, 'query')}"
    if entry.left_out:
        source += f"; {counted(entry.left_out, 'query')} left out, which the cloud did not answer"
    lines = [_goal_line(entry.goal, certified=entry.certified), source]
    lines.append(f"set on {_measured_line(entry.fit)}")
    rates = [entry.fit.deferral_rate]
    if entry.held_out is not None:
        lines.append(f"checked on {_measured_line(entry.held_out)}")
        rates.append(entry.held_out.deferral_rate)
    if entry.certified is not False:
        lines += all_or_none_lines(rates, "the small model", "the large model", "deferred")
    return lines


def _goal_line(goal: Goal, *, certified: bool | None) -> str:
    from escalade.cli.lines import promise_line
    from escalade.edge.deferral import QualityGoal, RateGoal

    if isinstance(goal, RateGoal):
        return f"goal: defer {goal.target:.1%}"
    if isinstance(goal, QualityGoal):
        return f"goal: {goal.target:.1%} right answers, at the lowest deferral rate"
    return promise_line(goal, "the large model", certified=certified)


def _measured_line(found: Measured) -> str:
    from escalade.edge.base import counted

    defers = _share(found.deferral_rate, found.deferral_interval)
    line = f"{counted(found.n, 'query')}: defers {defers}"
    if None not in (found.quality, found.small_quality, found.large_quality):
        line += (
            f", right {_share(found.quality, found.quality_interval)}; small model alone"
            f" {_share(found.small_quality)}, large {_share(found.large_quality)}"
        )
    if not found.tokens_saved:  # as of a classifier, whose answer is one
        return line
    return f"{line}; stopping when certain saves {found.tokens_saved:.1%} of device tokens"


def _share(share: float | None, interval: tuple[float, float] | None = None) -> str:
    if share is None or interval is None:
        return "unknown" if share is None else f"{share:.1%}"
    return f"{share:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _early_lines(early: EarlyEntry) -> list[str]:
    return [
        f"likely to defer: when the {early.statistic} of {early.min_tokens} or more tokens reaches"
        f" {early.level:.4f}; stopping then saves {early.tokens_saved:.1%} of device tokens",
        f"guaranteed: with probability {1 - early.delta:.4g}, at most {early.miss_rate:.2%} of all"
        f" queries are deferred by that alone ({early.misses} of {early.n} here)",
    ]


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB"
