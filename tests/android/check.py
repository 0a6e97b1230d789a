"""`make test-android`: compiles and tests what of edge/android needs no Android SDK, on the JVM.

`core` is held to Python's numbers and to an artifact that is exported here; `wire` asks a real
`escalade serve`, where Debian's gRPC for Java is. `app` is compiled against stubs and runs nowhere:
that takes Gradle and the Android SDK. Exit status 1 when something is wrong, 2 when the check
cannot be run here.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from android_api import PACKAGE, AndroidApi
from toolchain import (
    ANDROID,
    REPO,
    FailedError,
    Kotlin,
    MissingError,
    find_kotlin,
    grpc_classes,
    java_classes,
    run,
)

from escalade.cli.demo.processes import running
from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.artifact import Manifest

HOME = REPO / "runs" / "android"
VECTORS = REPO / "edge" / "web" / "test" / "vectors" / "deferral.json"
CHECKPOINTS = REPO / "training" / "checkpoints"


def main() -> int:
    """Run the check."""
    quiet_third_party()
    notes, results = note_console(), result_console()

    def say(line: str) -> None:
        notes.print(f"{line} ...", style="dim")

    HOME.mkdir(parents=True, exist_ok=True)
    try:
        kotlin = find_kotlin(HOME)
        say("exporting an artifact")
        folder, manifest = export()
        say("compiling core")
        core, core_tests = HOME / "core.jar", HOME / "core-tests.jar"
        kotlin.compile([module("core", "main")], core)
        kotlin.compile([module("core", "test")], core_tests, [core], tests=True)
        given = {"escalade.vectors": str(VECTORS), "escalade.artifact": str(folder)}
        said = kotlin.test([core_tests, core], test_classes("core"), given)
        results.print(f"core: {said.strip().splitlines()[-1]}")
        try:
            results.print(f"wire: {wire(kotlin, core, folder, manifest, say)}")
        except MissingError as error:
            results.print(f"wire and app: not compiled: {error}", soft_wrap=True)
        else:
            try:
                results.print(f"app: {app(kotlin, core, say)}")
            except MissingError as error:
                results.print(f"app: not compiled: {error}", soft_wrap=True)
    except MissingError as error:
        notes.print(f"make test-android: {error}", soft_wrap=True)
        return 2
    except FailedError as error:
        results.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def wire(kotlin: Kotlin, core: Path, folder: Path, manifest: Manifest, say: object) -> str:
    """Compile the module and let it ask a server; the line that counts its tests."""
    assert callable(say)
    say("compiling wire")
    classes = grpc_classes(HOME)
    jar = HOME / "wire.jar"
    both = [module("wire", "main"), module("wire", "test")]
    kotlin.compile(both, jar, [core, *classes], tests=True)
    golden = max(manifest.golden, key=lambda one: one.nll)
    say("asking escalade serve")
    large = CHECKPOINTS / "large"
    with running("the server", "serve", str(large), "--listen", "127.0.0.1:0") as at:
        with EdgeClient.open(folder, OpenOptions(threshold=0.0), cloud=at) as client:
            expected = client.ask_last(golden.prompt).text
        given = {
            "escalade.server": at,
            "escalade.prompt": golden.prompt,
            "escalade.ids": ",".join(map(str, golden.prompt_ids)),
            "escalade.fingerprint": manifest.model.tokenizer_fingerprint,
            "escalade.answer": expected,
        }
        said = kotlin.test([jar, core, *classes], test_classes("wire"), given)
    return said.strip().splitlines()[-1]


def app(kotlin: Kotlin, core: Path, say: object) -> str:
    """Compile the app against what its libraries and Android declare; what that shows."""
    assert callable(say)
    say(f"compiling app against {PACKAGE}")
    sources = module("app", "main")
    text = "\n".join(file.read_text() for file in sources.rglob("*.kt"))
    classes = set(re.findall(r"^import (android\.[\w.]+)$", text, re.MULTILINE))
    types, stubs = HOME / "android-types", HOME / "android-stubs"
    if not any(types.glob(f"{PACKAGE.replace('-', '_').replace('==', '-')}*")):
        shutil.rmtree(types, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        try:
            run([*pip, "--no-deps", "--target", str(types), PACKAGE])
        except FailedError as error:
            raise MissingError(
                f"no types of Android here, and pip does not bring them: {error}"
            ) from None
    shutil.rmtree(stubs, ignore_errors=True)
    files = AndroidApi(types, set(re.findall(r"\w+", text))).write(classes, stubs)
    strings = (sources.parent / "res" / "values" / "strings.xml").read_text()
    names = re.findall(r'<string name="(\w+)"', strings)
    fields = " ".join(f"public static int {name};" for name in names)
    resources = stubs / "R.java"
    resources.write_text(f"package escalade.app; class R {{ static class string {{ {fields} }} }}")
    android = java_classes([*files, resources], kotlin, HOME / "android-classes")
    libraries = HOME / "libraries.jar"
    grpc = grpc_classes(HOME)
    kotlin.compile([Path(__file__).parent / "libraries"], libraries, grpc)
    given = [core, HOME / "wire.jar", android, libraries, *grpc]
    kotlin.compile([sources], HOME / "app.jar", given)
    return f"compiled against {len(files)} classes of {PACKAGE}; never built, never run"


def export() -> tuple[Path, Manifest]:
    """The bundled small model, as a phone would get it: the folder and its manifest."""
    from escalade.export.artifact.artifact import export_artifact

    folder = HOME / "artifact"
    return folder, export_artifact(CHECKPOINTS / "small-cat-xent", folder, quantize="int8")


def module(name: str, which: str) -> Path:
    """A source folder."""
    return ANDROID / name / "src" / which / "kotlin"


def test_classes(name: str) -> list[str]:
    """Every class of a file that is called so: none is forgotten."""
    root = module(name, "test")
    files = sorted(root.rglob("*Test.kt"))
    return [".".join(file.relative_to(root).with_suffix("").parts) for file in files]


if __name__ == "__main__":
    sys.exit(main())
