"""`escalade demo --web`: the bundled cascade with its device in a browser; draws no page itself."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Final

from rich.console import Console

from escalade.cli.demo.page_server import bound, check_page, page_app, serve_page
from escalade.cli.demo.processes import running

# Its kernels in WebAssembly give what those of other devices give: an answer for an answer. So does
# int8 with 32-bit activations; those of 8 bits they do not round, and one answer in 60 is
# another (docs/web.md).
_QUANTIZATION: Final = "float16"
_CALIBRATION_QUERIES = 1500
_GOLDEN_PROMPTS = 8


def web_demo(
    *, small: Path, large: Path, page: Path, out: Path, port: int, target: float, notes: Console
) -> None:
    """Export and calibrate the small model, serve the large one and the page, until Ctrl-C.

    Args:
        small: checkpoint of the model that runs in the browser.
        large: checkpoint of the model above.
        page: what `make web` has built.
        out: folder for data and the artifact.
        port: of the page, on loopback; 0 takes a free one.
        target: share of the queries to defer.
        notes: where progress is told.

    Raises:
        MissingError: the page is not built.
        DemoError: the port is taken, or the server does not start.
    """
    check_page(page)
    with bound(port) as at:
        origin = f"http://127.0.0.1:{at.getsockname()[1]}"
        artifact = prepared(small, out, target, notes)
        notes.print(f"starting the cloud: escalade serve {large.name} --web", style="dim")
        serve = ("serve", str(large), "--listen", "127.0.0.1:0", "--deterministic")
        web = ("--web", "127.0.0.1:0", "--allow-origin", origin)
        with running("the cloud server", *serve, *web) as cloud:

            def ready() -> None:
                notes.print(f"the page is on {origin}/ (Ctrl-C ends it)")
                _open(origin)

            serve_page(page_app(page, artifact, cloud), at, ready)


def prepared(small: Path, out: Path, target: float, notes: Console) -> Path:
    """The artifact, calibrated on the validation split of the bundled tasks."""
    from escalade.cli.output import progress_bar
    from escalade.edge import Artifact
    from escalade.edge.base import read_records, subsample, write_records
    from escalade.edge.calibration import answers_to, calibrate
    from escalade.edge.deferral import RateGoal
    from escalade.export.artifact import export_artifact
    from escalade.training.data import load_pronunciations, make_records

    notes.print("writing the validation split of the bundled tasks", style="dim")
    data = out / "data" / "valid.jsonl"
    write_records(data, make_records("valid", load_pronunciations()))
    golden = [record.prompt for record in subsample(read_records(data), _GOLDEN_PROMPTS)]
    folder = out / "artifact-web"
    notes.print(f"exporting {small.name} to ONNX, {_QUANTIZATION}", style="dim")
    export_artifact(small, folder, quantize=_QUANTIZATION, golden_prompts=golden)
    artifact = Artifact.open(folder)
    with progress_bar(f"calibrating {small.name} on the validation split") as tick:
        answers = answers_to(artifact, data, limit=_CALIBRATION_QUERIES, progress=tick)
    deferral = calibrate(artifact, answers, RateGoal(target=target)).deferral
    notes.print(f"  calibrated: threshold {deferral.threshold:.4f}", style="dim")
    return folder


def _open(url: str) -> None:
    """Show it, where there is a screen and somebody before it."""
    screen = sys.platform in {"darwin", "win32"} or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if screen and sys.stderr.isatty():
        webbrowser.open(url)
