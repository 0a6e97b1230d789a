"""Reads where an ONNX file says that its weights lie, and writes it anew; knows no runtime.

Of protobuf and of ONNX no more than that takes (protobuf.dev/programming-guides/encoding, and
onnx.proto, whose numbers these are): the package `onnx` is as large as all else on a device.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

# How a field is written: as a number, in 8 bytes, with its length before it, in 4 bytes.
_NUMBER, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5
_GRAPH, _FUNCTIONS = 7, 25  # of a model
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15  # of a graph
_FED, _GIVEN, _KIND, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7  # of a node
_CALLED, _INTEGER, _WITHIN, _ALL_WITHIN = 1, 3, 6, 11  # of an attribute
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _PLACE = 1, 2, 8, 9, 13, 14  # of a tensor
_ELSEWHERE = 1  # a tensor's place: in another file
_KEY, _VALUE = 1, 2  # of what says where
_NAMED = 1  # of an input or output
_SEVEN, _MORE, _MOST = 0x7F, 0x80, 63


class Node(NamedTuple):
    """An operator."""

    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: Attributes that are integers.
    numbers: Mapping[str, int]


class Stored(NamedTuple):
    """A weight in a file."""

    name: str
    #: As ONNX numbers types.
    type: int
    shape: tuple[int, ...]
    location: str
    offset: int
    length: int


class Inline(NamedTuple):
    """A weight in the ONNX file itself."""

    name: str
    type: int
    shape: tuple[int, ...]
    raw: bytes


class OnnxFile:
    """A model that was read."""

    def __init__(self, data: bytes) -> None:
        """Read it.

        Raises:
            ValueError: it is no such file, or has graphs within nodes, functions or sparse weights.
        """
        self._around: list[bytes] = []
        self._kept: list[bytes] = []
        self._nodes: list[bytes] = []
        self._inline: dict[str, bytes] = {}
        self.nodes: list[Node] = []
        self.weights: dict[str, Stored | Inline] = {}
        self.inputs: set[str] = set()
        self.outputs: set[str] = set()
        try:
            for number, value, whole in _fields(data):
                if number == _GRAPH and isinstance(value, bytes):
                    self._read_graph(value)
                else:
                    _refuse(number == _FUNCTIONS)
                    self._around.append(whole)
        except (IndexError, UnicodeDecodeError, KeyError) as error:
            raise ValueError("not an ONNX file") from error

    def written(self, weights: Iterable[Stored], without: Container[int]) -> bytes:
        """With other weights, and without some of the nodes.

        Args:
            weights: all that are in files; of those within the file, those are kept that are read.
            without: of nodes, by their places.
        """
        nodes = [place for place in range(len(self.nodes)) if place not in without]
        read = {name for place in nodes for name in self.nodes[place].inputs}
        read |= self.inputs | self.outputs
        graph = [_sized(_NODE, self._nodes[place]) for place in nodes]
        graph += self._kept
        graph += [_sized(_INITIALIZER, own) for name, own in self._inline.items() if name in read]
        graph += [_sized(_INITIALIZER, _stored(one)) for one in weights if one.name in read]
        return b"".join([*self._around, _sized(_GRAPH, b"".join(graph))])

    def _read_graph(self, graph: bytes) -> None:
        for number, value, whole in _fields(graph):
            if not isinstance(value, bytes):
                self._kept.append(whole)
            elif number == _NODE:
                self._nodes.append(value)
                self.nodes.append(_node(value))
            elif number == _INITIALIZER:
                weight = _weight(value)
                self.weights[weight.name] = weight
                if isinstance(weight, Inline):
                    self._inline[weight.name] = value
            else:
                _refuse(number == _SPARSE)
                self._kept.append(whole)
                if number in {_INPUT, _OUTPUT}:
                    names = self.inputs if number == _INPUT else self.outputs
                    names.add(_text(value, _NAMED))


def _refuse(found: bool) -> None:
    if found:
        raise ValueError("has what is not read")


def _node(data: bytes) -> Node:
    texts: dict[int, list[str]] = {_FED: [], _GIVEN: [], _KIND: [], _DOMAIN: []}
    numbers: dict[str, int] = {}
    for number, value, _ in _fields(data):
        if number == _ATTRIBUTE and isinstance(value, bytes):
            name = ""
            for key, what, _ in _fields(value):
                _refuse(key in {_WITHIN, _ALL_WITHIN})
                if key == _CALLED and isinstance(what, bytes):
                    name = what.decode()
                elif key == _INTEGER and isinstance(what, int):
                    numbers[name] = what
        elif number in texts and isinstance(value, bytes):
            texts[number].append(value.decode())
    return Node(
        "".join(texts[_KIND]),
        "".join(texts[_DOMAIN]),
        tuple(texts[_FED]),
        tuple(texts[_GIVEN]),
        numbers,
    )


def _weight(data: bytes) -> Stored | Inline:
    shape: list[int] = []
    kind = place = 0
    name, raw, where = "", b"", dict[str, str]()
    for number, value, _ in _fields(data):
        if number == _DIMS:
            shape += [value] if isinstance(value, int) else _numbers(value)
        elif number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _PLACE and isinstance(value, int):
            place = value
        elif isinstance(value, bytes):
            if number == _NAME:
                name = value.decode()
            elif number == _RAW:
                raw = value
            elif number == _EXTERNAL:
                where[_text(value, _KEY)] = _text(value, _VALUE)
    if place != _ELSEWHERE:
        return Inline(name, kind, tuple(shape), raw)
    place, size = int(where.get("offset", "0")), int(where["length"])
    return Stored(name, kind, tuple(shape), where["location"], place, size)


def _stored(weight: Stored) -> bytes:
    where = {
        "location": weight.location,
        "offset": str(weight.offset),
        "length": str(weight.length),
    }
    fields = [_number(_DIMS, length) for length in weight.shape]
    fields += [_number(_TYPE, weight.type), _sized(_NAME, weight.name.encode())]
    for key, value in where.items():
        said = _sized(_KEY, key.encode()) + _sized(_VALUE, value.encode())
        fields.append(_sized(_EXTERNAL, said))
    return b"".join([*fields, _number(_PLACE, _ELSEWHERE)])


def _text(data: bytes, wanted: int) -> str:
    for number, value, _ in _fields(data):
        if number == wanted and isinstance(value, bytes):
            return value.decode()
    return ""


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes, bytes]]:
    """Of a message, each field's number, what it says, and its bytes whole."""
    at, end = 0, len(data)
    while at < end:
        first = at
        key, at = _varint(data, at)
        how, value = key & 7, b""
        if how == _NUMBER:
            number, at = _varint(data, at)
            yield key >> 3, number, data[first:at]
            continue
        if how == _SIZED:
            size, at = _varint(data, at)
        else:
            _refuse(how not in {_EIGHT, _FOUR})
            size = 8 if how == _EIGHT else 4
        _refuse(at + size > end)
        value, at = data[at : at + size], at + size
        yield key >> 3, value, data[first:at]


def _numbers(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        found.append(number)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number that begins there, and where the next field does."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & _SEVEN) << shift
        if byte < _MORE:
            return number, at
        shift += 7
        _refuse(shift > _MOST)


def _encoded(number: int) -> bytes:
    parts = bytearray()
    while number > _SEVEN:
        parts.append(number & _SEVEN | _MORE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _number(field: int, number: int) -> bytes:
    return _encoded(field << 3 | _NUMBER) + _encoded(number)


def _sized(field: int, data: bytes) -> bytes:
    return _encoded(field << 3 | _SIZED) + _encoded(len(data)) + data
