"""Java stubs of Android's classes, out of published type stubs of its API; knows no app of ours.

`chaquopy-stubs-android` (PyPI) has every public class of an API level as Python's types, made from
Google's own android.jar. Turned back into Java, that is enough to compile against: names, arities,
types and what may be null. It says nothing of what a call does, and int and long look alike there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Of API 36, which edge/android/app/build.gradle.kts compiles for.
PACKAGE = "chaquopy-stubs-android==36.20260406"
# What a Java primitive is written as there, the widest first.
_PRIMITIVES = ("jchar", "jdouble", "jfloat", "jlong", "jint", "jshort", "jbyte", "jboolean")
_SIMPLE = {"int": "int", "bool": "boolean", "float": "float", "str": "String", "None": "void"}
# Of CharSequence: who is one must have them.
_ALWAYS = frozenset({"length", "charAt", "subSequence"})
_OF_OBJECT = frozenset({"toString", "equals", "hashCode"})
_NULLABLE = "@org.jetbrains.annotations.Nullable "
_BODY = "{ throw new RuntimeException(); }"


@dataclass
class Stub:
    """A class on its way to Java."""

    name: str
    head: str = ""
    members: list[str] = field(default_factory=list)
    nested: dict[str, Stub] = field(default_factory=dict)

    def java(self, *, nested: bool = False) -> str:
        """Its text."""
        inner = [*self.members, *(one.java(nested=True) for one in self.nested.values())]
        return f"public {'static ' * nested}{self.head} {{\n" + "\n".join(inner) + "\n}"


class AndroidApi:
    """The stubs of one API level, as far as somebody asks for them."""

    def __init__(self, folder: Path, used: Set[str]) -> None:
        """Take the stubs.

        Args:
            folder: where `PACKAGE` lies.
            used: every name in the sources that are to be compiled; other members are left out.
        """
        self._folder, self._used = folder, used | _ALWAYS
        self._waiting: list[str] = []
        self._made: dict[str, dict[str, Stub]] = {}
        self._known: set[str] = set()

    def write(self, classes: Set[str], into: Path) -> list[Path]:
        """Write these, and those that their members name, one file for each."""
        for name in sorted(classes):
            self._want(name)
        while self._waiting:
            self._make(self._waiting.pop())
        files = []
        for package, stubs in self._made.items():
            for stub in stubs.values():
                path = into.joinpath(*package.split("."), f"{stub.name}.java")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"package {package};\n{stub.java()}\n")
                files.append(path)
        return files

    def _want(self, name: str) -> None:
        if name not in self._known:
            self._known.add(name)
            self._waiting.append(name)

    def _make(self, name: str) -> None:
        package, inner = _split(name)
        node = self._class_at(package, inner)
        place = self._made.setdefault(package, {})
        for outer in inner[:-1]:
            self._want(f"{package}.{inner[0]}")
            place = place.setdefault(outer, Stub(outer)).nested
        stub = place.setdefault(inner[-1], Stub(inner[-1]))
        alone = _is_callback(node)
        parent, interfaces = self._bases(node, package)
        if _is_class(node):
            stub.head = f"class {stub.name}" + (f" extends {parent}" if parent else "")
            stub.head += f" implements {', '.join(interfaces)}" if interfaces else ""
            stub.members.append(f"protected {stub.name}() {{}}")
        else:
            stub.head = f"interface {stub.name}"
            stub.head += f" extends {', '.join(interfaces)}" if interfaces else ""
        for base in (parent, *interfaces):
            if base is not None and base.startswith("android."):
                self._want(base)
        written = {f"{stub.name}()"}
        for member in node.body:
            for key, text in self._member(member, package, stub, node, alone=alone):
                if key not in written:
                    written.add(key)
                    stub.members.append(text)

    def _bases(self, node: ast.ClassDef, package: str) -> tuple[str | None, list[str]]:
        """The class above, and interfaces but for callbacks, which nobody here calls."""
        parent, interfaces = None, []
        for base in node.bases:
            found = self._type(base, package)
            if found == "java.lang.CharSequence":
                interfaces.append(found)
            elif found is not None and found.startswith("android."):
                above = self._class_at(*_split(found))
                if _is_class(above):
                    parent = found
                elif not _is_callback(above):
                    interfaces.append(found)
        return parent, interfaces

    def _member(
        self, member: ast.stmt, package: str, stub: Stub, node: ast.ClassDef, *, alone: bool
    ) -> Iterator[tuple[str, str]]:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            name = member.target.id
            static = "ClassVar" in ast.unparse(member.annotation)
            of = member.annotation.slice if static else member.annotation  # type: ignore[attr-defined]
            kind = self._type(of, package) if name in self._used else None
            if kind is not None and not kind.startswith("android."):
                value = " = 0" if kind in {"int", "float"} else " = null"
                yield name, f"public {'static ' * static}{kind} {name}{value};"
        elif isinstance(member, ast.FunctionDef):
            made = member.name == "__init__"
            wanted = made or alone or _is_used(member.name, self._used)
            if not wanted or member.name in _OF_OBJECT:
                return
            given = self._parameters(member, package, expand=not made)
            if given is None:
                return
            listed = ", ".join(f"{kind} p{number}" for number, kind in enumerate(given))
            if made:
                yield f"{stub.name}({', '.join(given)})", f"public {stub.name}({listed}) {{}}"
                return
            kind = self._type(member.returns, package)
            kind = "char" if member.name == "charAt" else kind
            if kind is None:
                return
            if kind.startswith("android."):
                self._want(kind)
            nullable = _NULLABLE if " | None" in ast.unparse(member.returns) else ""  # type: ignore[arg-type]
            static = any(ast.unparse(one) == "staticmethod" for one in member.decorator_list)
            how = "static " if static else "" if _is_class(node) or alone else "default "
            body = ";" if alone else _BODY
            yield (
                f"{member.name}({', '.join(given)})",
                f"{nullable}public {how}{kind} {member.name}({listed}) {body}",
            )

    def _parameters(
        self, member: ast.FunctionDef, package: str, *, expand: bool
    ) -> list[str] | None:
        """Java's types; None where one is not to be had."""
        kinds = []
        listed = [*member.args.posonlyargs, *member.args.args]
        for one in [arg for arg in listed if arg.arg != "self"]:
            kind = None if one.annotation is None else self._type(one.annotation, package)
            if kind is None:
                return None
            if kind.startswith("android.") and kind not in self._known:
                if not expand:
                    return None
                self._want(kind)
            kinds.append(kind)
        if member.args.vararg is not None:
            kinds.append("Object...")
        return kinds

    def _type(self, node: ast.expr | None, package: str) -> str | None:
        """A type as Java writes it; None: it cannot be told."""
        names = [one for one in _union(node) if one != "None"] or ["None"]
        for primitive in _PRIMITIVES:
            if f"java.{primitive}" in names:
                return primitive[1:]
        if "java.lang.String" in names:
            return "String"
        if "java.lang.Object" in names:
            return "Object"
        if len(names) != 1:
            return None
        (name,) = names
        if array := re.fullmatch(r"java\.chaquopy\.JavaArray\[(.+)\]", name):
            inner = self._type(ast.parse(array[1], mode="eval").body, package)
            return None if inner is None else f"{inner}[]"
        if name in _SIMPLE:
            return _SIMPLE[name]
        if name.startswith("java.") and not name.startswith("java.chaquopy") and "[" not in name:
            return name
        full = name if name.startswith("android.") else f"{package}.{name}"
        found = self._class_at(*_split(full), missing=True) if "[" not in name else None
        is_plain = found is not None and not any("Enum[" in ast.unparse(b) for b in found.bases)
        return full if is_plain else None

    def _class_at(
        self, package: str, inner: tuple[str, ...], *, missing: bool = False
    ) -> ast.ClassDef:
        path = self._folder.joinpath(f"{package.replace('.', '-stubs/', 1)}".replace(".", "/"))
        if "." not in package:
            path = self._folder / f"{package}-stubs"
        node: ast.Module | ast.ClassDef = _parsed(path / "__init__.pyi")
        for name in inner:
            found = [one for one in node.body if isinstance(one, ast.ClassDef) and one.name == name]
            if not found:
                if missing:
                    return None  # type: ignore[return-value]
                raise KeyError(f"{package}: API has no class {'.'.join(inner)}")
            node = found[0]
        assert isinstance(node, ast.ClassDef)
        return node


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])


def _split(name: str) -> tuple[str, tuple[str, ...]]:
    """The package, and the class within."""
    parts = name.split(".")
    first = next(index for index, part in enumerate(parts) if part[:1].isupper())
    return ".".join(parts[:first]), tuple(parts[first:])


def _union(node: ast.expr | None) -> list[str]:
    if isinstance(node, ast.BinOp):
        return [*_union(node.left), *_union(node.right)]
    return ["None"] if node is None else [ast.unparse(node)]


def _is_class(node: ast.ClassDef) -> bool:
    """Whether it can be made; all else does as an interface."""
    return "__init__" in {one.name for one in node.body if isinstance(one, ast.FunctionDef)}


def _is_callback(node: ast.ClassDef) -> bool:
    """Whether Kotlin makes one of a lambda."""
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    return not _is_class(node) and len(methods) == 1 and not methods[0].decorator_list


def _is_used(name: str, used: Set[str]) -> bool:
    """Whether a method is named, or is a property's that is."""
    if name in used:
        return True
    bare = re.sub(r"^(get|set|is)(?=[A-Z])", "", name)
    return bare != name and (f"{bare[0].lower()}{bare[1:]}" in used or f"is{bare}" in used)
