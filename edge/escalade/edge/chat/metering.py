"""A sandbox for templates that bounds what they take in time and memory; knows no conversation.

A template is a program: it loops, calls, and makes texts of texts. Whatever may cost more than a
moment passes through here before it is done, and pays for what it reads and makes. So the bound
holds in the process itself, on every platform, and falls at the same place on each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import cast

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from escalade.edge.chat.costs import (
    STEP,
    TooMuchError,
    check_power,
    depth,
    numbers,
    of_method,
    percent,
    product,
    replaced,
    size,
    whole_size,
)

#: What a template may cost for a prompt. A million steps are a second or two on a Raspberry Pi 5;
#: published templates spend 2 % of it on a conversation of 100 messages.
BUDGET = 1 << 25
# Of these nobody knows the cost beforehand, or they make one conversation many prompts.
_GONE_FILTERS = ("random", "urlize", "striptags", "wordwrap", "pprint")
_GONE_GLOBALS = ("lipsum",)
# A published template has some hundred nodes; jinja2 takes 50 us and 5 KB for one.
_MOST_NODES = 20_000
# A call of a macro takes as long as a few steps of a loop.
_CALL = 4 * STEP
# Filters and tests that only look at a value, or at each element when its turn has come.
_LOOKING_FILTERS = frozenset(
    {
        *("length", "count", "first", "last", "default", "d", "attr", "map", "select", "reject"),
        *("selectattr", "rejectattr"),
    }
)
_LOOKING_TESTS = frozenset(
    {
        *("defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number"),
        *("integer", "float", "boolean", "true", "false", "sameas", "callable"),
    }
)
# They go through the elements, not into them; the other filters read all of a value.
_GOING_THROUGH = frozenset({"list", "items", "reverse", "batch", "slice"})
# They compare elements with one another, each a few times.
_SORTING = frozenset({"sort", "dictsort", "groupby", "unique", "min", "max"})
_COMPARISONS = 16
_WIDTHS = frozenset({"center", "batch", "slice", "round", "indent", "tojson"})
# Filters whose names no template can write.
_STEPS, _TEXT, _COPIED, _COMPARED = "steps of", "text of", "a copy of", "all of"


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which all that is done is paid for; one template at a time, in one thread."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, extensions: Sequence[str | type[Extension]]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=extensions,
            autoescape=False,  # a prompt is no HTML
            finalize=self.written,
        )
        self._left = BUDGET
        for name in _GONE_FILTERS:
            del self.filters[name]
        for name in _GONE_GLOBALS:
            del self.globals[name]

    def meter(self) -> None:
        """Have the filters and tests that there are now paid for."""
        for known, looking in (
            (self.filters, _LOOKING_FILTERS),
            (self.tests, _LOOKING_TESTS),
        ):
            for name, function in cast("dict[str, Callable[..., object]]", known).items():
                known[name] = self._metered(name, function, looks=name in looking)
        self.filters[_STEPS] = lambda values: _Steps(values, self)
        self.filters[_TEXT] = lambda values: self.concat(map(str, map(self.written, values)))
        self.filters[_COPIED] = self._copied
        self.filters[_COMPARED] = self.written

    def refill(self) -> None:
        """Begin anew, with all that a template may spend."""
        self._left = BUDGET

    def spend(self, cost: int) -> None:
        """Pay.

        Raises:
            TooMuchError: there is not so much left.
        """
        self._left -= cost
        if self._left < 0:
            raise TooMuchError(
                f"a template may read and write at most {BUDGET} characters for a prompt, a step"
                f" counting as {STEP}; this one would go on"
            )

    def written(self, value: object) -> object:
        """Pay for a value that is about to be written, or compared, and give it back."""
        self.spend(self._whole(value))
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Put the parts of an output together."""
        kept = []
        for part in parts:
            self.spend(len(part) + 1)
            kept.append(part)
        return "".join(kept)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Compute `left operator right`."""
        self.spend(STEP)
        if operator == "%" and isinstance(left, str | bytes):
            self.spend(percent(left, self._whole(right)))
        elif operator == "**":
            check_power(left, right)
        elif operator == "*":
            self.spend(product(left, right))
        elif operator == "+":
            self.spend(size(left) + size(right))
        return super().call_binop(context, operator, left, right)

    def getitem(self, obj: object, argument: object) -> object:
        """Look something up: what is no text or number is hashed whole."""
        if isinstance(argument, tuple):
            self.spend(self._whole(argument))
        return super().getitem(obj, cast(str, argument))

    def call(self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:
        """Call a function, a macro or a method."""
        self.spend(_CALL)
        method = getattr(__obj, "__wrapped__", __obj)
        owner, options = getattr(method, "__self__", None), [*args, *kwargs.values()]
        if isinstance(__obj, LoopContext):
            args = tuple(_Steps(arg, self) for arg in args)
        elif isinstance(owner, str | bytes):
            name = str(getattr(method, "__name__", ""))
            args = tuple(_steps(arg, self) for arg in args)
            self.spend(of_method(owner, name, options, self._whole(options)))
        elif not isinstance(__obj, Macro):
            compares = getattr(method, "__name__", "") in {"index", "count"}
            self.spend(self._whole(owner) if compares else size(owner))
            self.spend(self._whole(options) + (0 if owner is None else numbers(options)))
        result: object = super().call(__context, __obj, *args, **kwargs)
        self.spend(size(result))
        return result

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        if (found := sum(1 for _ in source.find_all(nodes.Node))) > _MOST_NODES:
            raise TooMuchError(f"a template may have at most {_MOST_NODES} nodes, got {found}")
        metered: nodes.Template = _Metering().visit(source)
        metered.set_environment(self)
        return super()._generate(metered, name, filename, defer_init)

    def _metered(
        self, name: str, function: Callable[..., object], *, looks: bool
    ) -> Callable[..., object]:
        # Some take the context or the environment before the value.
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def metered(*args: object, **kwargs: object) -> object:
            given = args[first:]
            self.spend(STEP)
            if not looks:
                self._pay(name, given, kwargs)
            counted = given if looks else (_steps(value, self) for value in given)
            result = function(*args[:first], *counted, **kwargs)
            self.spend(size(result))
            return result

        return metered

    def _pay(self, name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """For a filter or a test: what it reads, and how much more it makes."""
        value, options = (args[0] if args else None), [*args[1:], *kwargs.values()]
        if name in _GOING_THROUGH:
            self.spend(size(value) * (STEP if isinstance(value, str) else 1))
        else:
            times = _COMPARISONS if name in _SORTING else 1
            self.spend(times * self._whole(value) + self._whole(options))
        if name in _WIDTHS:
            self.spend(numbers(options))
        if name in {"indent", "tojson"}:
            lines = str(value).count("\n") + 1 if name == "indent" else self._whole(value) // STEP
            levels = 1 if name == "indent" else depth(value)
            widths = (one if isinstance(one, int) else self._whole(one) for one in options)
            self.spend((lines + 1) * levels * sum(map(abs, widths)))
        elif name == "replace" and len(options) > 1:
            self.spend(replaced(str(value), *options[:2]))
        elif name == "join":
            self.spend((size(value) // STEP + 1) * sum(map(size, options)))
        elif name == "format":
            self.spend(percent(str(value), self._whole(options)))
        elif name == "sum" and not isinstance(kwargs.get("start", [*args, 0, 0][2]), int | float):
            raise TooMuchError("sum in a template must begin with a number")

    def _whole(self, value: object) -> int:
        return whole_size(value, self._left)

    def _copied(self, value: object) -> object:
        self.spend(size(value))
        return value


class _Steps:
    """Something to go through, paid for step by step."""

    def __init__(self, values: object, environment: MeteredEnvironment) -> None:
        self._values = cast("Sequence[object]", values)
        self._environment = environment

    def __iter__(self) -> Iterator[object]:
        for value in self._values:
            self._environment.spend(STEP)
            yield value

    def __len__(self) -> int:
        return len(self._values)


def _steps(value: object, environment: MeteredEnvironment) -> object:
    """What can only be gone through, each element paid for whole; anything else as it is."""
    if not isinstance(value, Iterator):
        return value
    return map(environment.written, _Steps(value, environment))


class _Metering(NodeTransformer):
    """Has what jinja2 writes as plain Python go through filters of ours."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - as jinja2 calls it
        self.generic_visit(node)
        node.iter = _through(_STEPS, cast(nodes.Expr, node.iter))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through(_TEXT, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through(_COPIED, node.node)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.key = _through(_COMPARED, node.key)  # hashed
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through(_COMPARED, node.expr)
        for operand in node.ops:
            operand.expr = _through(_COMPARED, operand.expr)
        return node


def _through(name: str, node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.Const):
        return node
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
