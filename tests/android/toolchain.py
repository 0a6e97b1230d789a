"""A Kotlin compiler, a JVM and Debian's gRPC for Java, where they are; knows no artifact."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
ANDROID = REPO / "edge" / "android"

# As JetBrains publishes it on npm: the version that edge/android/settings.gradle.kts names.
KOTLIN = "2.4.20"
_PARTS = (
    "kotlin-compiler", "kotlin-stdlib", "kotlin-script-runtime", "kotlin-reflect",
    "kotlinx-coroutines-core-jvm", "annotations-13.0",
)  # fmt: skip
_MAIN = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
# What Gradle is told too (jvmToolchain).
_JVM = "17"
_JAVA = Path("/usr/share/java")
_NETTY = ("buffer", "codec", "codec-http", "codec-http2", "common", "handler", "handler-proxy",
          "resolver", "transport", "transport-native-unix-common")  # fmt: skip
_NEEDED = (
    "grpc-api", "grpc-context", "grpc-core", "grpc-netty", "grpc-protobuf-lite", "grpc-stub",
    "protobuf", "guava", "perfmark-api", *(f"netty-{part}" for part in _NETTY),
)  # fmt: skip
# Of annotations; newer packages do without.
_GRPC = (
    *_NEEDED,
    "geronimo-annotation-1.3-spec",
    "error_prone_annotations",
    "jsr305",
    "failureaccess",
)
_PACKAGES = (
    "libgrpc-java libnetty-java libperfmark-java protobuf-compiler"
    " protobuf-compiler-grpc-java-plugin"
)
_LONGEST_S = 900


class MissingError(Exception):
    """Something is not on this machine; one line says what, and where it comes from."""


class FailedError(Exception):
    """A step failed; its last lines."""


@dataclass(frozen=True)
class Kotlin:
    """A compiler and the libraries that come with it."""

    lib: Path

    @property
    def libraries(self) -> list[Path]:
        """What tests run with."""
        return [self.lib / "kotlin-stdlib.jar", self.lib / "kotlin-test.jar"]

    def compile(
        self,
        sources: Sequence[Path],
        into: Path,
        classpath: Sequence[Path] = (),
        *,
        tests: bool = False,
    ) -> None:
        """Compile; a warning is an error.

        Args:
            sources: files and folders.
            into: a jar.
            classpath: beside Kotlin's own library.
            tests: they come with a stand-in for JUnit's annotation.

        Raises:
            FailedError: with what the compiler says.
        """
        own = [self.lib / f"{part}.jar" for part in _PARTS]
        command = [
            "java", "-Xmx1g", "-cp", _joined(own), _MAIN, "-no-reflect", "-no-stdlib", "-Werror",
            "-jvm-target", _JVM, f"-Xjdk-release={_JVM}",
            "-classpath", _joined([*self.libraries, *classpath]), "-d", str(into),
        ]  # fmt: skip
        if tests:
            command += ["-Xallow-kotlin-package", str(ANDROID / "tools" / "RunTests.kt")]
        run([*command, *map(str, sources)])

    def test(
        self, classpath: Sequence[Path], classes: Sequence[str], properties: dict[str, str]
    ) -> str:
        """Run test classes; what they print.

        Raises:
            FailedError: a test failed, or none ran.
        """
        given = [f"-D{name}={value}" for name, value in properties.items()]
        path = _joined([*classpath, *self.libraries])
        return run(["java", "-ea", *given, "-cp", path, "kotlin.test.RunTestsKt", *classes])


def find_kotlin(home: Path) -> Kotlin:
    """The compiler: `KOTLIN_HOME`, `kotlinc` on the path, or npm's, which is installed into `home`.

    Raises:
        MissingError: there is no JVM, or no compiler and no npm to bring one.
    """
    if shutil.which("java") is None:
        raise MissingError("no java here (Debian: apt install openjdk-17-jre-headless)")
    if (given := os.environ.get("KOTLIN_HOME")) is not None:
        return _kotlin_in(Path(given) / "lib", "KOTLIN_HOME")
    if (program := shutil.which("kotlinc")) is not None:
        lib = Path(program).resolve().parents[1] / "lib"
        if (lib / "kotlin-compiler.jar").is_file():
            return Kotlin(lib)
    package = home / "node_modules" / "kotlin-compiler"
    if not (package / "lib" / "kotlin-compiler.jar").is_file():
        if shutil.which("npm") is None:
            raise MissingError(
                "no Kotlin compiler here: set KOTLIN_HOME, or install npm to fetch one"
            )
        try:
            quietly = ("--silent", "--no-save", "--prefix", str(home))
            run(["npm", "install", *quietly, f"kotlin-compiler@{KOTLIN}"])
        except FailedError as error:
            raise MissingError(
                f"no Kotlin compiler here, and npm does not bring it: {error}"
            ) from None
    return _kotlin_in(package / "lib", "npm's kotlin-compiler")


def _kotlin_in(lib: Path, whose: str) -> Kotlin:
    if not (lib / "kotlin-compiler.jar").is_file():
        raise MissingError(f"{whose}: {lib} holds no kotlin-compiler.jar")
    return Kotlin(lib)


def grpc_classes(home: Path) -> list[Path]:
    """The contract's Java classes, made and compiled in `home`, and the libraries that they need.

    Raises:
        MissingError: Debian's packages are not here.
        FailedError: protoc or javac says no.
    """
    plugin = shutil.which("grpc_java_plugin") or shutil.which("protoc-gen-grpc-java")
    jars = [_JAVA / f"{name}.jar" for name in _GRPC]
    missing = [jar.name for jar in jars if jar.stem in _NEEDED and not jar.is_file()]
    programs = [name for name in ("protoc", "javac") if shutil.which(name) is None]
    if missing or programs or plugin is None:
        raise MissingError(f"no gRPC for Java here (Debian: apt install {_PACKAGES} and a JDK)")
    made, classes = home / "generated", home / "classes"
    for folder in (made, classes):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    contract = "escalade/v1/cascade.proto"
    run([
        "protoc", f"-I{REPO / 'protos'}", f"--java_out=lite:{made}",
        f"--plugin=protoc-gen-grpc-java={plugin}", f"--grpc-java_out=lite:{made}", contract,
    ])  # fmt: skip
    libraries = [jar for jar in jars if jar.is_file()]
    sources = map(str, made.rglob("*.java"))
    run(["javac", "-nowarn", "-cp", _joined(libraries), "-d", str(classes), *sources])
    return [classes, *libraries]


def java_classes(sources: Sequence[Path], kotlin: Kotlin, into: Path) -> Path:
    """Compile Java that knows annotations of what may be null; the folder of its classes.

    Raises:
        MissingError: no javac.
        FailedError: javac says no.
    """
    if shutil.which("javac") is None:
        raise MissingError("no javac here (Debian: apt install openjdk-17-jdk-headless)")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    annotations = kotlin.lib / "annotations-13.0.jar"
    run(["javac", "-nowarn", "-cp", str(annotations), "-d", str(into), *map(str, sources)])
    return into


def run(command: Sequence[str]) -> str:
    """Run to its end; what it printed on stdout.

    Raises:
        FailedError: exit status, and the last lines.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-40:])
        raise FailedError(f"{Path(command[0]).name}: exit status {done.returncode}\n{said}")
    return done.stdout


def _joined(paths: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, paths))
