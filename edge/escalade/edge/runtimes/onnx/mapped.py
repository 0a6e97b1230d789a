"""Has what a program computes when it is loaded lie in files, not in memory; knows no session.

Kernels pack the scales of a matrix with its integers. onnxruntime keeps beside that what nodes of
the graph gave them as, in float32, whether a kernel reads it or not (x86-64's do not), and of
integers that were joined in memory a copy of all that is looked up. In files they are mapped like
the weights: whoever reads a page has it in memory, nobody else.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import PlanesEntry, joined_matrices, planes_name
from escalade.edge.base import folder_beside
from escalade.edge.memory import can_drop_pages, drop_pages
from escalade.edge.runtimes.onnx.file import Inline, Node, OnnxFile, Stored
from escalade.edge.runtimes.program import data_name, joined_name

#: From which onnxruntime takes the paths of weights, where a program is given in memory.
ROOT = "/"
#: Of weights: below, it is not worth looking at what lies where.
LARGE_BYTES = 8 << 20
# Of the program itself, which is read here: of a decoder 100 to 400 kB.
_MOST_BYTES = 16 << 20
_FLOAT, _INT = 1, 6  # as ONNX numbers types
_DTYPES: dict[int, type[np.generic]] = {_FLOAT: np.float32, 2: np.uint8, 10: np.float16}
# Whose third input are scales.
_SCALED = ("MatMulNBits", "GatherBlockQuantized")
_SCALES = 2
# Files that may be larger than memory belong there, those in /tmp may be in memory themselves
# (Filesystem Hierarchy Standard 3.0, 5.15; file-hierarchy(7)).
_ON_DISK = Path("/var/tmp")  # noqa: S108 - in a folder of its own
_OWN = 0o700  # for this user alone
# The folder of what is computed, of which files are mapped that are no longer there.
_LAID = "weights"
# What it maps around a page that is read (fault_around_bytes).
_PART_BYTES = 64 << 10


@contextmanager
def mapped_program(
    program: Path, planes: Sequence[PlanesEntry], *, least: int = LARGE_BYTES
) -> Iterator[bytes | None]:
    """The program, with what it computes of weights in files, while a session of it is made.

    Args:
        program: the .onnx file.
        planes: of its matrices.
        least: bytes of weights that are worth it.

    Yields:
        To be loaded with weights below `ROOT`; None where nothing is gained, or there is no room on
        disk: it is loaded as it is.

    Raises:
        ArtifactError: they are no such planes.
    """
    small = held_bytes(program) < least
    if small or not can_drop_pages() or program.stat().st_size > _MOST_BYTES:
        yield None
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(folder_beside(_temporary() / _LAID, _OWN)).resolve()
            given = _written(program.resolve(), planes, folder)
        except (OSError, LookupError, ValueError):  # no room; a graph of another kind
            given = None
        yield given
        drop_read(program, least=least)


def drop_read(program: Path, *, least: int = LARGE_BYTES) -> None:
    """Have pages go back that were read to load a program, or to hold it against golden answers.

    Weights are packed by now, or looked up row by row; and of all code that was run since the
    process began little is run again: of onnxruntime's 15 MB less, of which answering reads 2
    again, of Python's, numpy's and other libraries' 16, of which it reads 4.

    Args:
        program: the .onnx file.
        least: bytes of weights that are worth it.
    """
    if held_bytes(program) < least:
        return
    own = tuple(str(one.resolve()) for one in _weights_of(program))
    laid = f"/.{_LAID}."
    drop_pages(lambda mapped: mapped.of_code or mapped.path.startswith(own) or laid in mapped.path)


def _weights_of(program: Path) -> list[Path]:
    name = program.name
    return [program.with_name(one) for one in (data_name(name), planes_name(name))]


def held_bytes(program: Path) -> int:
    """Of the files of weights beside it."""
    return sum(one.stat().st_size for one in _weights_of(program) if one.is_file())


def _temporary() -> Path:
    """Where a user says that temporary files belong, or on disk."""
    if "TMPDIR" in os.environ or not os.access(_ON_DISK, os.W_OK):
        return Path(tempfile.gettempdir())
    return _ON_DISK


def _written(program: Path, planes: Sequence[PlanesEntry], folder: Path) -> bytes | None:
    """The program, by which all that it reads lies below `ROOT`; None where it computes nothing."""
    graph = OnnxFile(program.read_bytes())
    constants = _Constants(graph, program)
    scales = {
        node.inputs[_SCALES]
        for node in graph.nodes
        if node.kind in _SCALED and len(node.inputs) > _SCALES
    }
    laid: dict[str, Stored] = {}
    for name in sorted(scales):
        value = constants.computed(name)
        if value is not None and value.dtype == np.float32:
            laid[name] = _laid(folder / f"{len(laid)}.scales", name, _FLOAT, value)
    if not laid and not planes:
        return None
    joined: dict[int, Path] = {}
    at = 0
    stored = program.with_name(planes_name(program.name))
    for count, matrix in enumerate(joined_matrices(stored, planes)):
        joined[at] = folder / f"{count}.joined"
        _write(joined[at], matrix)
        at += matrix.nbytes
    moved = [
        _moved(weight, program, joined)
        for weight in graph.weights.values()
        if isinstance(weight, Stored)
    ]
    return graph.written([*moved, *laid.values()], constants.needless(laid))


def _laid(path: Path, name: str, kind: int, value: NDArray[np.generic]) -> Stored:
    _write(path, value)
    return Stored(name, kind, value.shape, _below_root(path), 0, value.nbytes)


def _write(path: Path, value: NDArray[np.generic]) -> None:
    """In parts: what Linux is given at once it maps at once, of which one row is looked up."""
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    with path.open("wb") as file:
        for first in range(0, len(data), _PART_BYTES):
            file.write(data[first : first + _PART_BYTES].data)


def _moved(weight: Stored, program: Path, joined: Mapping[int, Path]) -> Stored:
    if weight.location == joined_name(program.name):
        path = joined.get(weight.offset)
        if path is None or path.stat().st_size != weight.length:
            raise ValueError(f"{weight.name} is no matrix in planes")
        return weight._replace(location=_below_root(path), offset=0)
    return weight._replace(location=_below_root(program.with_name(weight.location)))


def _below_root(path: Path) -> str:
    return str(path.relative_to(ROOT))


class _Constants:
    """What nodes of a graph make of its weights alone."""

    def __init__(self, graph: OnnxFile, program: Path) -> None:
        self._graph, self._program = graph, program
        self._files: dict[str, NDArray[np.uint8]] = {}
        self._makers = {
            name: place for place, node in enumerate(graph.nodes) for name in node.outputs if name
        }

    def computed(self, name: str) -> NDArray[np.generic] | None:
        """What a node gives by that name; None where that is no constant, or not known here."""
        place = self._makers.get(name)
        return None if place is None else self._result(self._graph.nodes[place])

    def needless(self, known: Mapping[str, Stored]) -> set[int]:
        """The nodes, by their places, that nobody reads where so many values are known."""
        gone = {self._makers[name] for name in known}
        while True:
            read = {
                name
                for place, node in enumerate(self._graph.nodes)
                if place not in gone
                for name in node.inputs
            } | self._graph.outputs
            feeding = {
                self._makers[name]
                for place in gone
                for name in self._graph.nodes[place].inputs
                if name in self._makers and name not in read
            }
            if feeding <= gone:
                return gone
            gone |= feeding

    def _value(self, name: str) -> NDArray[np.generic] | None:
        weight = self._graph.weights.get(name)
        if weight is None:
            return self.computed(name)
        dtype = _DTYPES.get(weight.type)
        if dtype is None or name in self._graph.inputs:
            return None
        if isinstance(weight, Inline):
            return np.frombuffer(weight.raw, dtype).reshape(weight.shape)
        file = self._files.get(weight.location)
        if file is None:
            file = np.memmap(self._program.with_name(weight.location), np.uint8, "r")
            self._files[weight.location] = file
        count = math.prod(weight.shape)
        return np.frombuffer(file, dtype, count, weight.offset).reshape(weight.shape)

    def _result(self, node: Node) -> NDArray[np.generic] | None:
        """As onnxruntime computes it: exact, or rounded to the nearest float32."""
        if node.domain or node.kind not in {"Cast", "Gather", "Mul"}:
            return None
        values = [self._value(name) for name in node.inputs]
        first, last = values[0], values[-1]
        if first is None or last is None or len(node.outputs) != 1:
            return None
        if node.kind == "Cast":
            dtype = {_FLOAT: np.float32, _INT: np.int32}.get(node.numbers.get("to", 0))
            return None if dtype is None else first.astype(dtype)
        if node.kind == "Mul":
            return np.multiply(first, last) if first.dtype == last.dtype == np.float32 else None
        if node.numbers.get("axis", 0) or last.dtype != np.int32 or first.dtype != np.float32:
            return None
        found: NDArray[np.generic] = first[last]
        return found
