"""What is mapped of a program when it is opened: the same numbers, in less memory, or as it was."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from escalade.edge.artifact import PlanesEntry, Scheme, planes_name
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes import joined_name
from escalade.edge.runtimes.onnx.file import OnnxFile, Stored
from escalade.edge.runtimes.onnx.mapped import ROOT, mapped_program
from escalade.edge.runtimes.onnx.session import joined_planes
from escalade.export.blueprints import Linear
from escalade.export.onnx.storing.slices import slice_name, slices_in
from escalade.export.onnx.storing.storage import Storage
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Choice

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROWS, COLUMNS = 1200, 80
FIRSTS = (0, 300, 600)
#: Scales by levels, and of too few rows for that; integers as kernels read them, and in planes.
KINDS = {
    "levels": [Choice(8, 16), Choice(5, 16), Choice(3, 16)],
    "halves": [Choice(4, 32), Choice(6, 64), Choice(8, 64)],
}
FOLDER = "session.model_external_initializers_file_folder_path"


def written(folder: Path, storage: Storage) -> tuple[Path, list[PlanesEntry]]:
    """A table of words that is looked up and multiplied with; its path, and its planes."""
    table = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
    path = folder / "model.onnx"
    with GraphWriter(path, "tied") as graph:
        ids = graph.input("ids", np.int64, [1, "n"])
        x = graph.input("x", np.float32, [1, "m", COLUMNS])
        rows = storage.embedding(graph, "embedding", table, ids)
        graph.output("rows", rows, np.float32, [1, "n", COLUMNS])
        product = storage.linear(graph, "embedding", Linear(table), x)
        graph.output("logits", product, np.float32, [1, "m", ROWS])
    return path, graph.planes


def in_slices(kinds: Sequence[Choice]) -> Storage:
    names = [slice_name("embedding", first) for first in FIRSTS]
    choices = dict(zip(names, kinds, strict=True))
    return Storage(scheme="int4", block_size=32, choices=choices, slices=slices_in(choices))


def answers(session: ort.InferenceSession) -> list[bytes]:
    x = np.random.default_rng(0).normal(size=(1, 5, COLUMNS)).astype(np.float32)
    found = []
    for rows in (1, 5):
        fed = {"ids": np.arange(ROWS)[None], "x": x[:, :rows]}
        found += [one.tobytes() for one in session.run(None, fed)]
    return found


def as_it_is(path: Path, planes: Sequence[PlanesEntry]) -> list[bytes]:
    options = ort.SessionOptions()
    with joined_planes(options, path, planes):
        return answers(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]))


@linux
@pytest.mark.parametrize(
    "storage",
    [
        *(in_slices(kinds) for kinds in KINDS.values()),
        Storage(scheme="int8", block_size=64),
        Storage(scheme="int4", block_size=32, head_bits=4),
    ],
    ids=[*KINDS, "int8", "int4"],
)
def test_a_mapped_program_gives_the_same_numbers(storage: Storage, tmp_path: Path) -> None:
    path, planes = written(tmp_path, storage)
    before = set(tmp_path.iterdir())
    options = ort.SessionOptions()
    options.add_session_config_entry(FOLDER, ROOT)
    with mapped_program(path, planes, least=0) as program:
        assert program is not None
        kinds = {node.kind for node in OnnxFile(program).nodes}
        assert not kinds & {"Cast", "Mul"}  # what they gave is there already
        session = ort.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    assert answers(session) == as_it_is(path, planes)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("scheme", ["none", "float16", "dynamic-int8"])
def test_what_has_no_scales_of_blocks_is_loaded_as_it_is(scheme: Scheme, tmp_path: Path) -> None:
    path, _ = written(tmp_path, Storage(scheme=scheme))
    with mapped_program(path, [], least=0) as program:
        assert program is None


def test_what_is_small_is_loaded_as_it_is(tmp_path: Path) -> None:
    path, planes = written(tmp_path, in_slices(KINDS["halves"]))
    with mapped_program(path, planes) as program:
        assert program is None


@linux
@pytest.mark.parametrize("location", ["/etc/hostname", "../model.onnx.data", "model.onnx.data.no"])
def test_weights_that_are_not_beside_the_program_are_onnxruntimes_to_refuse(
    location: str, tmp_path: Path
) -> None:
    path, planes = written(tmp_path, Storage(scheme="int8", block_size=64))
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    with mapped_program(path, planes, least=0) as program:
        assert program is None


@linux
def test_planes_that_are_none_are_one_line(tmp_path: Path) -> None:
    path, planes = written(tmp_path, in_slices(KINDS["halves"]))
    stored = tmp_path / planes_name(path.name)
    stored.write_bytes(stored.read_bytes()[:-1])
    with (
        pytest.raises(ArtifactError, match=r"planes: must have \d+ bytes of planes, has \d+"),
        mapped_program(path, planes, least=0),
    ):
        pass


@linux
def test_a_matrix_that_is_not_where_planes_are_is_loaded_as_it_is(tmp_path: Path) -> None:
    path, planes = written(tmp_path, in_slices(KINDS["halves"]))
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        where = {entry.key: entry for entry in weight.external_data}
        if where and where["location"].value == joined_name(path.name):
            where["offset"].value = "1"
    path.write_bytes(model.SerializeToString())
    with mapped_program(path, planes, least=0) as program:
        assert program is None


# A process of its own: what it holds in memory that is of no file, and a number that it computes.
_HELD = """
import json, resource, signal, sys
from pathlib import Path
import numpy as np
from escalade.edge.memory import return_holes, return_large_blocks
from escalade.edge.runtimes.onnx.mapped import drop_read
from escalade.edge.runtimes.onnx.session import open_session
from escalade.edge.artifact import load_manifest

def held(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return 1024 * int(line.split()[1])

return_large_blocks()
manifest = load_manifest(Path(sys.argv[1]))
if sys.argv[3] == "full":  # as a disk is
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
before = held("RssAnon")
session = open_session(Path(sys.argv[2]), manifest, threads=1)
return_holes()
x = np.linspace(-1, 1, 1024, dtype=np.float32)[None, None]
said = float(session.run(None, {"x": x})[0].sum())
taken = held("RssAnon") - before
read = held("RssFile")
drop_read(Path(sys.argv[2]))
dropped = read - held("RssFile")
assert float(session.run(None, {"x": x})[0].sum()) == said
print(json.dumps([taken, said, dropped]))
"""


@linux
def test_scales_that_no_kernel_reads_are_in_no_memory_unless_a_disk_is_full(
    int8_artifact: Path, tmp_path: Path
) -> None:
    rows, columns = 16384, 1024
    weights = torch.randn(rows, columns, generator=torch.Generator().manual_seed(2))
    path = tmp_path / "model.onnx"
    with GraphWriter(path, "wide") as graph:
        x = graph.input("x", np.float32, [1, 1, columns])
        product = Storage(scheme="int8", block_size=16).linear(graph, "one", Linear(weights), x)
        graph.output("y", product, np.float32, [1, 1, rows])
    found = {}
    for disk in ("there", "full"):
        command = [sys.executable, "-c", _HELD, str(int8_artifact), str(path), disk]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[disk] = json.loads(done.stdout)
    scales = 4 * rows * columns // 16
    (mapped, said, dropped), (whole, said_so, _) = found["there"], found["full"]
    assert said == said_so
    assert whole - mapped > 0.9 * scales
    assert dropped > 1 << 20


def test_a_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    path, _ = written(tmp_path, in_slices(KINDS["levels"]))
    graph = OnnxFile(path.read_bytes())
    stored = [one for one in graph.weights.values() if isinstance(one, Stored)]
    again = onnx.load_from_string(graph.written(stored, without=()))
    model = onnx.load(path, load_external_data=False)
    for one in (again, model):
        one.graph.initializer.sort(key=lambda weight: weight.name)
    assert again == model


@given(st.data())
def test_what_is_no_onnx_file_is_a_value_error(data: st.DataObject) -> None:
    node = helper.make_node("Cast", ["a"], ["b"], to=1)
    weight = helper.make_tensor("a", onnx.TensorProto.FLOAT16, [2], b"abcd", raw=True)
    graph = helper.make_graph([node], "one", [], [], [weight])
    whole = bytearray(helper.make_model(graph).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    part = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(ValueError):  # and nothing else
        OnnxFile(part).written([], ())


def test_graphs_within_nodes_are_not_read() -> None:
    inner = helper.make_graph([], "inner", [], [])
    node = helper.make_node("If", ["a"], ["b"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([node], "one", [], []))
    with pytest.raises(ValueError, match="has what is not read"):
        OnnxFile(model.SerializeToString())
