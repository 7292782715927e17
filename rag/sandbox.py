"""Where the templates of prompts are rendered: a template may come from elsewhere, and reaches nothing but its data.

Jinja's sandbox keeps a template from what lies behind its values. It does not bound its work, which is done here: every
turn of a loop, every call and every letter that is made is counted, and a template that goes beyond is stopped.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, htmlsafe_json_dumps
from jinja2.visitor import NodeTransformer

from catalog.foreign import json_line

MOST_SOURCE = 100_000
"""Letters of a template, at most."""
MOST_STEPS = 20_000
"""Turns of loops, and calls, for one part of a prompt."""
MOST_LETTERS = 20_000_000
"""Letters that are made for one part of a prompt, those on the way included."""
MOST_SECONDS = 10.0
"""Processor time for one part of a prompt: a stop for what is not counted, such as comparing long texts."""
_DEEPEST, _MOST_BITS = 4, 4096

# What makes no text longer than it was; those that may are below.
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "first", "float", "int", "last", "length", "list", "lower", "map"),
    *("max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort", "title", "trim"),
    *("truncate", "unique", "upper", "wordcount"),
)
_OF_TEXT = """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric
isspace istitle isupper lower lstrip partition removeprefix removesuffix rfind rindex rpartition rsplit rstrip split
splitlines startswith strip swapcase title upper"""
_OF_LOOP = "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0"
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_OF_TEXT.split()),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    LoopContext: frozenset(_OF_LOOP.split()),
}
_WIDE = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\*|\d{4}|\d*\.(?:\*|\d{4}))")
_STEPS, _JOINED, _BUILT, _TIMED = (
    "counted steps",
    "joined text",
    "built list",
    "timed value",
)  # blanks: nobody can name them


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """An environment in which what is missing is an error, nothing can be changed, and work is bounded.

    `begin` is to be called before each part that is rendered.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, autoescape=False, finalize=self._shown)
        self.code_generator_class = _Counting
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.filters = {name: self._charged(FILTERS[name]) for name in _FILTERS}
        own: dict[str, Callable[..., Any]] = {"format": self._format, "join": self._join, "replace": self._replace}
        own |= {"string": self._string, "tojson": self._tojson, "quoted": self._quoted, "field": self._field}
        self.filters |= own | {_STEPS: self._steps, _JOINED: self._concat, _BUILT: self._built, _TIMED: self._timed}
        self.begin()

    def begin(self) -> None:
        """Count anew."""
        self._left, self._letters, self._started = MOST_STEPS, MOST_LETTERS, time.thread_time()

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a template writes, unless it is too much."""
        kept = []
        for part in parts:
            self._spend(len(part))
            kept.append(part)
        return "".join(kept)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro or a method, and count it."""
        self._step()
        return super().call(context, called, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may have it: of plain values, and of what Jinja makes, a short list."""
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), frozenset())
        return attr in allowed and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Wrap nothing: ``str.format`` is not allowed at all."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, unless the result is too large."""
        if operator == "%" and isinstance(left, str):
            self._check_format(left, right)
        elif operator == "+":
            self._spend(sum(_length(one) for one in (left, right)))
        elif operator == "*":
            self._check_product(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            self._check_bits(left.bit_length() * max(right, 0))
        return super().call_binop(context, operator, left, right)

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SecurityError(f"more than {MOST_STEPS:,} turns of loops and calls for one prompt")
        self._check_time()

    def _spend(self, letters: int) -> None:
        self._letters -= letters
        if self._letters < 0:
            raise SecurityError(f"more than {MOST_LETTERS:,} letters for one prompt")
        self._check_time()

    def _check_time(self) -> None:
        if time.thread_time() - self._started > MOST_SECONDS:
            raise SecurityError(f"more than {MOST_SECONDS:g} seconds for one prompt")

    def _size(self, value: Any, depth: int = 0) -> int:
        """Return about how many letters a value is as text; lists in lists in lists may be more than anybody wants."""
        if isinstance(value, str):
            return len(value)
        if value is None or isinstance(value, bool | float | Undefined):
            return 8
        if isinstance(value, int):
            return value.bit_length() // 3 + 1
        inner: Iterable[Any]
        if isinstance(value, dict):
            inner = (part for pair in value.items() for part in pair)
        elif isinstance(value, list | tuple):
            inner = value
        else:
            raise SecurityError(f"a {type(value).__name__} is no text")
        if depth == _DEEPEST:
            raise SecurityError("lists in lists, too deep")
        total = 2
        for part in inner:
            total += self._size(part, depth + 1) + 2
            if total > MOST_LETTERS:
                break
        return total

    def _shown(self, value: Any) -> Any:
        """Let pass what is written out."""
        self._spend(self._size(value))
        return value

    def _check_product(self, left: Any, right: Any) -> None:
        for one, times in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(times, int):
                self._spend(_length(one) * max(times, 0))
        if isinstance(left, int) and isinstance(right, int):
            self._check_bits(left.bit_length() + right.bit_length())

    def _check_bits(self, bits: int) -> None:
        if bits > _MOST_BITS:
            raise SecurityError("a number of more than a thousand digits")

    def _check_format(self, text: str, values: Any) -> None:
        if _WIDE.search(text):
            raise SecurityError("a width of more than 999 letters")
        self._spend(len(text) + text.count("%") * (self._size(values) + 1000))

    def _charged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter of Jinja's that counts what it makes; what would be made later is made at once."""

        @functools.wraps(function)
        def charged(*args: Any, **kwargs: Any) -> Any:
            self._step()
            if any(isinstance(value, Namespace) for value in (*args, *kwargs.values())):
                raise SecurityError("a namespace is no text")  # it may hold itself, or others without end
            made = function(*args, **kwargs)
            if made is None or isinstance(made, bool | int | float | dict | Undefined | LoopContext):
                return made
            if not isinstance(made, str | list | tuple):
                made = list(made)
            self._spend(_length(made))
            return made

        return charged

    def _steps(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._step()
            yield value

    def _timed(self, value: Any) -> Any:
        self._check_time()
        return value

    def _concat(self, *parts: Any) -> str:
        self._spend(sum(map(self._size, parts)))
        return "".join(map(str, parts))

    def _built(self, value: Any) -> Any:
        self._spend(self._size(value))
        return value

    def _format(self, text: Any, *args: Any, **kwargs: Any) -> str:
        pattern = self._string(text)
        self._check_format(pattern, kwargs or args)
        return pattern % (kwargs or args)

    def _join(self, values: Any, d: Any = "", attribute: str | int | None = None) -> str:
        listed = list(values if attribute is None else map(make_attrgetter(self, attribute), values))
        self._spend(sum(map(self._size, listed)) + self._size(d) * len(listed))
        return str(d).join(map(str, listed))

    def _replace(self, text: Any, old: Any, new: Any, count: int = -1) -> str:
        whole, before, after = self._string(text), self._string(old), self._string(new)
        self._spend(whole.count(before) * len(after))
        return whole.replace(before, after, -1 if count is None else count)

    def _string(self, value: Any) -> str:
        return str(self._shown(value))

    def _tojson(self, value: Any) -> str:
        return str(htmlsafe_json_dumps(self._shown(value)))

    def _quoted(self, value: Any) -> str:
        return json_line(str(self._shown(value)))

    def _field(self, value: Any) -> str:
        text = str(self._shown(value))
        return json_line(text) if any(sign in text for sign in ('"', "|", "->")) else text


class _Counting(CodeGenerator):
    """Writes a template's code so that what it does is counted."""

    def visit_Template(self, node: nodes.Template, frame: Any = None) -> None:  # noqa: N802 -- Jinja's name
        super().visit_Template(_Counted().visit(node), frame)


class _Counted(NodeTransformer):
    """Sends loops, joined texts and lists through the filters that count them."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 -- Jinja's name
        if node.recursive:
            raise jinja2.TemplateSyntaxError("recursive loops are not allowed", node.lineno)
        self.generic_visit(node)
        node.iter = _through(_STEPS, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_JOINED, *node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_BUILT, node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_BUILT, node) if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_BUILT, node)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_TIMED, node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_TIMED, node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 -- Jinja's name
        self.generic_visit(node)
        return _through(_TIMED, node) if isinstance(node.arg, nodes.Slice) else node


def _length(value: Any) -> int:
    """Return how many letters a text has; of a list, each element counts for the eight bytes that it takes."""
    if isinstance(value, str):
        return len(value)
    return 8 * len(value) if isinstance(value, list | tuple) else 8


def _through(name: str, value: nodes.Node, *more: nodes.Node) -> nodes.Filter:
    made = nodes.Filter(value, name, list(more), [], None, None, lineno=value.lineno)
    made.environment = value.environment
    return made
