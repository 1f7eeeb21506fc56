"""What of a notebook's cells a variable needs: the statements are run in an empty module, and make it again."""

from __future__ import annotations

import builtins

import pytest

from populace.core.errors import ScenarioError
from populace.data.cells import Cells


def needed(name: str, *cells: str) -> str:
    known = vars(builtins).keys()
    return Cells(cells).needed(name, lambda one: one in known, lambda one: ", a DataFrame," if one == "frame" else "")


def made_again(name: str, *cells: str):
    """The variable, as its statements alone make it."""
    there: dict = {"__name__": "again"}
    exec(needed(name, *cells), there)
    return there[name]


def test_only_what_is_needed_is_kept_in_order():
    text = needed(
        "total", "import math\nimport os\nunused = 1", "base = 2\nprint(base)", "def add(n):\n    return n + base",
        "other = add(5)", "total = add(math.floor(1.5))",
    )  # fmt: skip
    assert text == ("import math\n\nbase = 2\n\ndef add(n):\n    return n + base\n\ntotal = add(math.floor(1.5))\n")


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (["n = 1", "x = n", "n = 2"], 1),
        (["n = 1", "def f(): return n", "n = 2", "x = f()"], 2),
        (["n = 1\nn += 1\nn += 1", "x = n"], 3),
        (["names = []", "names.append(1)\nnames.append(2)", "x = names"], [1, 2]),
        (["rules = {}", "rules['a'] = 1", "rules['b'] = 2\ndel rules['a']", "x = rules"], {"b": 2}),
        (["x = [1]", "x = [2]", "x.append(3)"], [2, 3]),
        (["total = 0\nfor i in range(4):\n    total = total + i\n    y = i", "x = (total, y)"], (6, 3)),
        (["from math import *", "x = floor(pi)"], 3),
        (["class A:\n    k = 1", "class B(A):\n    j = A.k + 1", "x = B.j + B.k"], 3),
        (["def f(): return 1", "def f(): return 2", "x = f()"], 2),
        (["def f(): return g()", "def g(): return 5", "x = f()"], 5),
        (["x = [y for y in range(3)]"], [0, 1, 2]),
        (["def deco(f): return lambda: f() + 1", "@deco\ndef f(): return 1", "x = f()"], 2),
        (["this is no Python", "a = 1; b = 2", "x = a + b"], 3),
        (["def fact(n): return 1 if n < 2 else n * fact(n - 1)", "x = fact(4)"], 24),
        (["try:\n    import nothing_of_that_name\nexcept ImportError:\n    v = 7", "x = v"], 7),
        (["a, (b, *c) = 1, (2, 3)", "x = [a, b, c]"], [1, 2, [3]]),
        (["n = 3", "x = (lambda: n * 2)()"], 6),
        (["text = 'ä'; é = 'ö'", "x = text + é"], "äö"),
    ],
)
def test_what_is_made_again_is_the_same(cells, value):
    assert made_again("x", *cells) == value


def test_what_is_not_needed_does_not_run():
    """Neither what a module's functions were called for, nor what uses the variable afterwards."""
    text = needed("x", "import shutil\nshutil.rmtree('/nowhere')", "x = shutil.which('sh')", "print(x)\ny = x.upper()")
    assert text == "import shutil\n\nx = shutil.which('sh')\n"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["x = frame['a'].sum()"], "frame: cell 0 reads it .*, a DataFrame, that shards could make again"),
        (["def f(): return nowhere", "x = f()"], "nowhere: cell 0 reads it"),
        (["files = get_ipython().getoutput('ls')", "x = files[0]"], "files: is made by a magic .* in cell 0"),
        (["y = 1"], "x: no cell gives it a value"),
    ],
)
def test_a_value_without_a_source_is_refused_by_name(cells, said):
    with pytest.raises(ScenarioError, match=said):
        needed("x", *cells)
