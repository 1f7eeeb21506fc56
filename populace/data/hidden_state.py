"""Looks over a society's file for what makes two attempts of a run differ. Pure: it reads the text and runs nothing.

That is draws and clocks that are not keyed, state outside of agents and parts, coroutines that nobody awaits. What it
tells is certain by the text alone; what it can't be sure of it passes over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

_DRAW: Final = 'draw with `ctx.draw("purpose")`, `setup.draw("purpose")` or, in a part, `self.world.draw("purpose")`'
_TIME: Final = "read `ctx.tick` or `ctx.time_s`, which are simulated"
_UNKEYED: Final[dict[str, str]] = {
    **{f"time.{name}": _TIME for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime",
    )},
    **{f"datetime.{name}": _TIME for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")},
    "os.urandom": _DRAW, "uuid.uuid1": _DRAW, "uuid.uuid4": _DRAW,
    **{f"secrets.{name}": _DRAW for name in ("choice", "randbelow", "randbits", "token_bytes", "token_hex")},
    **{f"random.{name}": _DRAW for name in (
        "random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform", "gauss", "normalvariate",
        "expovariate", "betavariate", "triangular", "getrandbits", "lognormvariate", "paretovariate", "randbytes",
        "vonmisesvariate", "weibullvariate", "gammavariate",
    )},
    **{f"numpy.random.{name}": _DRAW for name in (
        "rand", "randn", "randint", "random", "random_sample", "choice", "shuffle", "permutation", "normal", "uniform",
        "binomial", "poisson", "exponential", "beta", "gamma", "lognormal",
    )},
}  # fmt: skip
_UNSEEDED: Final = frozenset({"random.Random", "numpy.random.default_rng", "numpy.random.RandomState"})
"""Draws that are the same in every attempt where they are given a seed."""
_CHANGING: Final = frozenset({
    "append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popleft", "popitem", "remove",
    "discard", "clear",
})  # fmt: skip
_CONTAINERS: Final = frozenset({"list", "dict", "set", "defaultdict", "Counter", "deque", "OrderedDict", "OrderedSet"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Found(NamedTuple):
    """A line of the file, and what is wrong with it."""

    line: int
    what: str


@lru_cache(maxsize=4)  # an experiment plays hundreds of runs of one file
def hidden_state(source: str) -> tuple[Found, ...]:
    """What the text of a society's file tells of hidden state, in the order of its lines."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    body = [one for one in module.body if not _is_main(one)]
    names = _imported(module)
    found = [hit for one in _reached(body) for hit in _unkeyed(one, names)]
    held = {name for one in body for name in _containers(one)}
    for one in body:
        if isinstance(one, ast.ClassDef) and _acts(one):
            found += _outside(one, held)
            found += _never_awaited(one)
    return tuple(sorted(set(found)))


def _is_main(one: ast.stmt) -> bool:
    return isinstance(one, ast.If) and any(
        isinstance(name, ast.Name) and name.id == "__name__" for name in ast.walk(one.test)
    )


def _imported(module: ast.Module) -> dict[str, str]:
    """What each imported name stands for: {'np': 'numpy', 'choice': 'random.choice'}."""
    names: dict[str, str] = {}
    for one in ast.walk(module):
        if isinstance(one, ast.Import):
            tops = {name.name.partition(".")[0] for name in one.names if name.asname is None}
            names |= {top: top for top in tops} | {name.asname: name.name for name in one.names if name.asname}
        elif isinstance(one, ast.ImportFrom) and one.module and not one.level:
            names |= {name.asname or name.name: f"{one.module}.{name.name}" for name in one.names}
    return names


def _reached(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run as the file is loaded, and the functions and classes that these name, directly or not."""
    defined = {one.name: one for one in body if isinstance(one, _Function | ast.ClassDef)}
    todo: list[ast.stmt] = [one for one in body if not isinstance(one, _Function | ast.ClassDef)]
    reached: list[ast.stmt] = []
    while todo:
        one = todo.pop()
        reached.append(one)
        named = {name.id for name in ast.walk(one) if isinstance(name, ast.Name)}
        todo += [defined.pop(name) for name in sorted(named & defined.keys())]
    return reached


def _unkeyed(top: ast.stmt, names: dict[str, str], own: frozenset[str] = frozenset()) -> Iterator[Found]:
    """The calls of a statement that draw or read a clock; names that it binds itself mean something else."""
    if isinstance(top, _Function):
        own |= _bound(top)
    for one in _here(top):
        if isinstance(one, _Function):
            yield from _unkeyed(one, names, own)
        elif isinstance(one, ast.Call) and (called := _called(one.func, names, own)):
            if called in _UNKEYED:
                shown, instead = ast.unparse(one.func), _UNKEYED[called]
                yield Found(one.lineno, f"{shown}() is not keyed, so a resumed or repeated run differs: {instead}")
            elif called in _UNSEEDED and not one.args and not one.keywords:
                shown = ast.unparse(one.func)
                yield Found(one.lineno, f"{shown}() has no seed, so a resumed or repeated run differs: {_DRAW}")


def _here(top: ast.AST) -> Iterator[ast.AST]:
    """What stands in a statement, functions in it as a whole."""
    todo = list(ast.iter_child_nodes(top))
    while todo:
        one = todo.pop()
        yield one
        if not isinstance(one, _Function):
            todo += ast.iter_child_nodes(one)


def _bound(function: _Function) -> frozenset[str]:
    arguments = function.args
    names = {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    names |= {one.arg for one in (arguments.vararg, arguments.kwarg) if one is not None}
    stored = {one.id for one in ast.walk(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return frozenset(names | stored)


def _called(function: ast.expr, names: dict[str, str], own: frozenset[str]) -> str:
    """The full name of what is called, by what was imported; '' for anything else."""
    path: list[str] = []
    while isinstance(function, ast.Attribute):
        path.insert(0, function.attr)
        function = function.value
    if not isinstance(function, ast.Name) or function.id in own or function.id not in names:
        return ""
    return ".".join([names[function.id], *path])


def _containers(one: ast.stmt) -> list[str]:
    """The names that a statement of a module or class gives a list, dict or set."""
    if isinstance(one, ast.Assign) and _is_container(one.value):
        return [target.id for target in one.targets if isinstance(target, ast.Name)]
    if isinstance(one, ast.AnnAssign) and one.value is not None and _is_container(one.value):
        return [one.target.id] if isinstance(one.target, ast.Name) else []
    return []


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in _CONTAINERS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _acts(kind: ast.ClassDef) -> bool:
    """Whether a class is one of agents or of parts, by its turn or its base."""
    turns = any(isinstance(one, ast.AsyncFunctionDef) and one.name == "turn" for one in kind.body)
    return turns or any(ast.unparse(base).rpartition(".")[2] in ("Agent", "Part") for base in kind.bases)


def _outside(kind: ast.ClassDef, held: set[str]) -> Iterator[Found]:
    """What methods change that belongs to no agent and no part: containers of the module, and of the class."""
    shared = {name for one in kind.body if isinstance(one, ast.Assign) for name in _containers(one)}
    keep = "keep it in a field of the agent, or in a part of the world"
    for method in kind.body:
        if not isinstance(method, _Function):
            continue
        own = _bound(method)
        declared = {name for one in ast.walk(method) if isinstance(one, ast.Global) for name in one.names}
        for one in ast.walk(method):
            changed = _changed(one)
            if isinstance(changed, ast.Name) and changed.id in held and changed.id not in own - declared:
                yield Found(changed.lineno, f"{changed.id} is changed here and is saved with no run: {keep}")
            elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id in declared:
                yield Found(one.lineno, f"{one.id} is changed here and is saved with no run: {keep}")
            elif (
                isinstance(changed, ast.Attribute) and isinstance(changed.value, ast.Name)
                and changed.value.id in ("self", kind.name) and changed.attr in shared
            ):  # fmt: skip
                yield Found(
                    changed.lineno,
                    f"{kind.name}.{changed.attr} is one for all, and is changed here: declare it as a field with its "
                    f"type, `{changed.attr}: list[...] = []`",
                )


def _changed(one: ast.AST) -> ast.expr | None:
    """What a call or an assignment changes in place."""
    if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _CHANGING:
        return one.func.value
    if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store | ast.Del):
        return one.value
    return None


def _never_awaited(kind: ast.ClassDef) -> Iterator[Found]:
    """Methods of an agent that are coroutines, called and not awaited: they do nothing."""
    coroutines = {one.name for one in kind.body if isinstance(one, ast.AsyncFunctionDef)}
    for one in ast.walk(kind):
        if (
            isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)
            and isinstance(one.value.func, ast.Attribute) and isinstance(one.value.func.value, ast.Name)
            and one.value.func.value.id == "self" and one.value.func.attr in coroutines
        ):  # fmt: skip
            name = one.value.func.attr
            call = f"self.{name}(...)"
            yield Found(one.lineno, f"{call} is never awaited, so it does nothing: write `await {call}`")
