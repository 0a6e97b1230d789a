"""Java out of Python's types of Android: what is taken over, and what is left out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("android_api", HERE / "android_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclasses ask
    spec.loader.exec_module(module)
    return module


AndroidApi = _loaded().AndroidApi

VIEW = """
import typing
class View(java.lang.Object):
    VISIBLE: typing.ClassVar[int] = ...
    GONE: typing.ClassVar[int] = ...
    def __init__(self, context: android.content.Context, /) -> None: ...
    def setPadding(self, left: int | java.jint, far: int | java.jlong, /) -> None: ...
    def getTag(self) -> java.lang.Object | None: ...
    def setOnClickListener(self, arg: View.OnClickListener, /) -> None: ...
    def toString(self) -> str: ...
    def layout(self) -> None: ...
    class OnClickListener(java.lang.Object):
        def onClick(self, arg1: View, /) -> bool: ...
class Button(View, View.OnClickListener):
    def __init__(self, context: android.content.Context, /) -> None: ...
    @staticmethod
    def names() -> java.chaquopy.JavaArray[java.lang.String] | None: ...
"""
CONTEXT = """
class Context(java.lang.Object):
    def __init__(self) -> None: ...
"""


@pytest.fixture
def made(tmp_path: Path) -> dict[str, str]:
    for package, text in (("view", VIEW), ("content", CONTEXT)):
        folder = tmp_path / "android-stubs" / package
        folder.mkdir(parents=True)
        (folder / "__init__.pyi").write_text(text)
    used = {"VISIBLE", "setPadding", "tag", "setOnClickListener", "names", "toString"}
    classes = {"android.view.Button", "android.content.Context"}
    files = AndroidApi(tmp_path, used).write(classes, tmp_path / "java")
    return {file.relative_to(tmp_path / "java").as_posix(): file.read_text() for file in files}


def test_a_class_brings_those_it_is_made_of(made: dict[str, str]) -> None:
    assert set(made) == {
        "android/content/Context.java", "android/view/Button.java", "android/view/View.java",
    }  # fmt: skip
    assert "class Button extends android.view.View {" in made["android/view/Button.java"]


def test_members_that_are_named_are_taken_with_their_types(made: dict[str, str]) -> None:
    view = made["android/view/View.java"]
    assert "public static int VISIBLE = 0;" in view
    assert "public void setPadding(int p0, long p1) {" in view
    assert "@org.jetbrains.annotations.Nullable public Object getTag() {" in view
    assert "public View(android.content.Context p0) {}" in view
    names = "public static String[] names() {"
    assert f"@org.jetbrains.annotations.Nullable {names}" in made["android/view/Button.java"]


def test_what_kotlin_makes_of_a_lambda_is_an_interface(made: dict[str, str]) -> None:
    view = made["android/view/View.java"]
    assert "public static interface OnClickListener {" in view
    assert "public boolean onClick(android.view.View p0) ;" in view


def test_others_are_left_out(made: dict[str, str]) -> None:
    view = made["android/view/View.java"]
    assert not any(name in view for name in ("GONE", "layout", "toString"))


def test_a_class_that_the_api_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"android\.view: API has no class Gone"):
        AndroidApi(tmp_path, set()).write({"android.view.Gone"}, tmp_path)
