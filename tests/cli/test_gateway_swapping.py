"""Versions of a gateway's cascade: who answers the next query, who goes on, who is refused."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from classifiers import linear_artifact, with_threshold

from escalade.cli.serving.opening import GatewayCascade
from escalade.cli.serving.swapping import Swapping
from escalade.edge import OpenOptions
from escalade.edge.artifact import MANIFEST_NAME, load_manifest, memory_of, write_manifest
from escalade.edge.cascade import Cascade
from escalade.edge.errors import EdgeError
from escalade.edge.store import Store, install
from escalade.v1.watched_files import LOOK_EVERY_S


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two that say the same labels with other probabilities, both with a threshold."""
    folder = tmp_path_factory.mktemp("versions")
    return (
        with_threshold(linear_artifact(folder / "one")),
        with_threshold(linear_artifact(folder / "two", sgd=False)),
    )


@pytest.fixture
def path(tmp_path: Path, artifacts: tuple[Path, Path]) -> Path:
    """A cascade of a store and of an address where nobody is."""
    put(artifacts[0], tmp_path)
    path = tmp_path / "cascade.toml"
    path.write_text(
        '[[tiers]]\nname = "linear"\nmembers = ["store/current"]\n\n'
        '[[tiers]]\nname = "large"\naddress = "127.0.0.1:1"\ndeadline_s = 0.2\n'
    )
    return path


def put(artifact: Path, folder: Path) -> str:
    return install(str(artifact), folder / "store", allow_older=True).id


@pytest.fixture
def swapping(path: Path) -> Iterator[Swapping]:
    swapping = Swapping(path, OpenOptions(), queue_capacity=1)
    yield swapping
    swapping.close()


def program_of(served: GatewayCascade) -> str | None:
    return served.cascade.tiers[0].opened[0].info.program_sha256


def test_a_version_takes_over_for_the_next_query_and_a_rollback_gives_it_back(
    swapping: Swapping, path: Path, artifacts: tuple[Path, Path]
) -> None:
    first = swapping.current
    swapping.look()
    assert (swapping.current, swapping.swaps) == (first, 0)
    put(artifacts[1], path.parent)
    assert swapping.current is first
    swapping.look()
    second = swapping.current
    assert program_of(second) != program_of(first)
    assert second.info.model.revision != first.info.model.revision
    Store(path.parent / "store").rollback()
    swapping.look()
    assert swapping.current.info.model == first.info.model
    assert (swapping.swaps, swapping.refused) == (2, 0)


def test_a_query_goes_on_with_what_it_began_with_which_is_closed_after_it(
    swapping: Swapping, path: Path, artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = list[Cascade]()

    def close(cascade: Cascade) -> None:
        closed.append(cascade)

    monkeypatch.setattr(Cascade, "close", close)
    with swapping.using() as older:
        with swapping.using() as same:
            assert same is older
            put(artifacts[1], path.parent)
            swapping.look()
            with swapping.using() as newer:
                assert newer is not older
        assert closed == []
    assert closed == [older.cascade]
    Store(path.parent / "store").rollback()
    swapping.look()  # of one that nobody asks
    assert closed == [older.cascade, newer.cascade]


def spoil(folder: Path, _: Path) -> None:
    version = (folder / "store" / "current").resolve()
    program = version / load_manifest(version).program
    program.chmod(0o644)
    program.write_bytes(program.read_bytes()[:-1] + b"x")
    (version / MANIFEST_NAME).touch()


def no_threshold(folder: Path, artifact: Path) -> None:
    put(with_threshold(Path(shutil.copytree(artifact, folder / "copy")), None), folder)


def other_labels(folder: Path, artifact: Path) -> None:
    copy = Path(shutil.copytree(artifact, folder / "copy"))
    manifest = load_manifest(copy)
    assert manifest.classification
    entry = msgspec.structs.replace(manifest.classification, labels=["joy", "fear", "Ärger"])
    write_manifest(copy, msgspec.structs.replace(manifest, classification=entry, golden=[]))
    put(copy, folder)


def another_tier(folder: Path, _: Path) -> None:
    path = folder / "cascade.toml"
    path.write_text(path.read_text().replace('"large"', '"larger"'))


def no_toml(folder: Path, _: Path) -> None:
    (folder / "cascade.toml").write_text("tiers = [")


def early(folder: Path, _: Path) -> None:
    path = folder / "cascade.toml"
    begins, ends = path.read_text().split("\n\n")
    path.write_text(f'{begins}\ngate = {{ early = "certain" }}\n\n{ends}')


def gone(folder: Path, _: Path) -> None:
    shutil.rmtree(folder / "store")


def said_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the gateway said; the device says beside it that it cannot reach its cloud."""
    return [one.message for one in caplog.records if one.name.startswith("escalade.cli")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (spoil, "sha256"),
        (no_threshold, "threshold"),
        (other_labels, "tier 'linear': labels must be deep sadness, joy, Ärger while it is served"),
        (another_tier, "tiers must be linear, large while it is served, got linear, larger"),
        (no_toml, "not valid TOML"),
        (early, "early must be 'off'"),
        (gone, "not an artifact"),
    ],
)
def test_what_cannot_take_over_is_said_once_and_the_old_goes_on(
    swapping: Swapping,
    path: Path,
    artifacts: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path, Path], None],
    why: str,
) -> None:
    first, good = swapping.current, path.read_text()
    change(path.parent, artifacts[1])
    with caplog.at_level(logging.WARNING):
        swapping.look()
        swapping.look()
    (line,) = said_of(caplog)
    assert why in line
    assert line.endswith("; what was served before goes on")
    assert "\n" not in line
    assert (swapping.current, swapping.swaps, swapping.refused) == (first, 0, 1)
    path.write_text(good)
    put(artifacts[1], path.parent)
    swapping.look()
    assert (swapping.current is first, swapping.swaps) == (False, 1)


def test_a_model_with_another_tokenizer_does_not_take_over(
    tmp_path: Path, int8_artifact: Path, artifacts: tuple[Path, Path]
) -> None:
    path = tmp_path / "cascade.toml"
    text = f'[[tiers]]\nname = "only"\nmembers = ["{int8_artifact}"]\n'
    path.write_text(text)
    swapping = Swapping(path, OpenOptions(), queue_capacity=1)
    fingerprint = swapping.current.info.model.tokenizer_fingerprint
    path.write_text(text.replace(str(int8_artifact), str(artifacts[0])))
    swapping.look()
    swapping.close()
    assert (swapping.current.info.model.tokenizer_fingerprint, swapping.refused) == (fingerprint, 1)


def test_old_and_new_together_keep_within_the_bound_of_memory(
    path: Path, artifacts: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    one = memory_of(artifacts[0], max_memory=1 << 40, trusted_key=None).total
    for room, swaps in ((1.0, 0), (2.0, 1)):
        put(artifacts[0], path.parent)
        options = OpenOptions(max_memory=int(one * room))
        swapping = Swapping(path, options, queue_capacity=1)
        put(artifacts[1], path.parent)
        swapping.look()
        swapping.close()
        assert (swapping.swaps, swapping.refused) == (swaps, 1 - swaps)
    assert "bytes of memory" in said_of(caplog)[0]


def test_files_are_looked_at_in_steps_until_told_to_end(
    swapping: Swapping, path: Path, artifacts: tuple[Path, Path]
) -> None:
    pauses = list[float]()

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 2:
            put(artifacts[1], path.parent)
        return len(pauses) == 4

    swapping.watch(pause)
    assert pauses == [LOOK_EVERY_S] * 4
    assert swapping.swaps == 1


def test_who_makes_versions_hears_which_is_served_and_not_while_one_is_refused(
    swapping: Swapping, path: Path, artifacts: tuple[Path, Path]
) -> None:
    good, made, heard = path.read_text(), list[int](), list[int]()

    def pause(seconds: float) -> bool:
        if len(made) == 1:
            path.write_text("no cascade")
        elif len(made) == 3:
            path.write_text(good)
            put(artifacts[1], path.parent)
        return len(made) == 5

    def published() -> int:
        made.append(len(made))
        return made[-1]

    swapping.watch(pause, published=published, serves=heard.append)
    assert (swapping.swaps, swapping.refused) == (1, 1)
    assert (made, heard) == ([0, 1, 2, 3, 4], [0, 3, 4])


def test_what_cannot_be_opened_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="there is no such file"):
        Swapping(tmp_path / "none.toml", OpenOptions(), queue_capacity=1)
