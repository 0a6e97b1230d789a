"""What errors say is for people: no tuple, list or set in them as Python writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from plan import modules

MAKERS = {"dict", "frozenset", "list", "set", "sorted", "tuple"}
KINDS = {"Collection", "Iterable", "Mapping", "Sequence", *MAKERS}
LITERALS = (ast.Dict, ast.List, ast.ListComp, ast.Set, ast.SetComp, ast.Tuple)


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        ("SIZES = (1, 2)\nraise ValueError(f'must be one of {SIZES}')", ["SIZES"]),
        ("raise ValueError(f'got {list(sizes)}')", ["list(sizes)"]),
        ("raise ValueError(f'known: {found.keys()}')", ["found.keys()"]),
        ("def f(pair: tuple[int, int]):\n    raise ValueError(f'got {pair}')", ["pair"]),
        ("def f(names: Sequence[str] | None):\n    raise ValueError(f'got {names!r}')", ["names"]),
        ("raise ValueError(f'got {listed(sizes)}, of {len(sizes)}')", []),
    ],
)
def test_the_search_finds_what_is_not_in_words(raised: str, found: list[str]) -> None:
    tree = ast.parse(raised)
    assert list(not_in_words(tree, constants(tree))) == found


@pytest.mark.parametrize("name", sorted(modules()))
def test_errors_say_lists_in_words(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    assert list(not_in_words(tree, constants(tree))) == []


def not_in_words(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Of what is raised, the parts that Python would write with its brackets."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        given = known | (set() if isinstance(scope, ast.Module) else arguments(scope))
        for raised in own_raises(scope):
            for node in ast.walk(raised):
                if isinstance(node, ast.FormattedValue) and is_many(node.value, given):
                    yield ast.unparse(node.value)


def own_raises(scope: ast.AST) -> Iterator[ast.Raise]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.Raise):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from own_raises(node)


def is_many(value: ast.expr, known: set[str]) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in MAKERS
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in {"items", "keys", "values"}
    return isinstance(value, LITERALS) or (isinstance(value, ast.Name) and value.id in known)


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    named = function.args
    every = [*named.posonlyargs, *named.args, *named.kwonlyargs]
    return {one.arg for one in every if one.annotation and is_kind(one.annotation)}


def is_kind(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):  # `X | None`
        return is_kind(annotation.left) or is_kind(annotation.right)
    return isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in KINDS


def constants(tree: ast.Module) -> set[str]:
    """Of a module, by name; and what is a list for it alone."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if is_many(node.value, set()):
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found
