"""Every example of README and of the documentation runs as it stands; negative controls show that it would be seen."""

from __future__ import annotations

import os

import pytest
from support.misbehaving import Misbehaving
from support.pages import NOT_RUN, ROOT, Broken, Page, blocks_of, check_parsed, pages

NOT_RUN_IN_ALL = 23


@pytest.fixture(scope="module")
def endpoint():
    with Misbehaving(models=["my-model"]) as server:
        yield server.base_url


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """No key of a person's, and plots into memory."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("page", pages())
def test_the_examples_of_a_page_run(page, tmp_path, endpoint):
    text = (ROOT / page).read_text(encoding="utf-8")
    at_work = Page(tmp_path, endpoint)
    at_work.run(blocks_of(text, page))
    assert len(at_work.left) == len([line for line in text.splitlines() if NOT_RUN.match(line)]), (
        "a mark stands before no block"
    )


def test_what_is_not_run_says_why_and_is_counted():
    left = [block for page in pages() for block in blocks_of((ROOT / page).read_text(), page) if block.why_not]
    assert len(left) == NOT_RUN_IN_ALL, [f"{block.place}: {block.why_not}" for block in left]


SAVED = '```python title="a.py"\nN = 3\n```\n'


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (SAVED + "\n```python\nimport a\nassert a.N == 4\n```\n", r"page:7: AssertionError"),
        (SAVED.replace("N = 3", "N = 1 / 0"), r"page:2: ZeroDivisionError"),
        ("\n\n```sh\npopulace scenarios\npopulace scenarioz\n```\n", r"page:5: .*scenarioz"),
        ("```sh\npopulace run nowhere.py \\\n  --ticks 2\n```\n", r"page:2: ends with 2 and not 0:\n.*nowhere.py"),
        ("```sh\npopulace scenarios  # exit code 8\n```\n", r"page:2: ends with 0 and not 8"),
        ("```sh\ncurl example.org\n```\n", r"page:2: curl is not run here"),
        ("<!-- not run: costs -->\n```sh\npopulace run x --tickz 3\n```\n", r"page:3: .*--tickz"),
        ("<!-- not run: costs -->\n```sh\npopulace run x --set model.nam=3\n```\n", r"page:3: .*model.nam"),
        ("<!-- not run: costs -->\n```sh\npopulace fork x --at-tick 3 --lever 'blok={}'\n```\n", r"page:3: .*blok"),
        ("```sh\npopulace scenarios\n", r"page:1: this fence is never closed"),
    ],
)
def test_an_example_that_fails_is_named_with_its_line(page, said, tmp_path):
    with pytest.raises(Broken, match=said):
        Page(tmp_path).run(blocks_of(page))


def test_blocks_share_names_types_and_files_and_may_await(tmp_path):
    typed = "import msgspec\nclass Kind(msgspec.Struct):\n    n: int\nclass Pair(msgspec.Struct):\n    kind: Kind\n"
    uses = "import asyncio\nawait asyncio.sleep(0)\nassert msgspec.convert({'kind': {'n': N}}, Pair).kind.n == 3\n"
    page = f"{SAVED}\n```python\n{typed}```\n```python\n{uses}```\n"
    at_work = Page(tmp_path)
    at_work.run(blocks_of(page))
    assert at_work.ran == 2


def test_blocks_that_are_not_run_are_parsed_and_counted(tmp_path):
    page = "<!-- not run: needs a key -->\n```sh\npopulace run x --model openai --set model.name=m\n```\n"
    (block,) = blocks_of(page)
    assert check_parsed(block) == 1
    at_work = Page(tmp_path)
    at_work.run([block])
    assert [one.why_not for one in at_work.left] == ["needs a key"]
    assert at_work.ran == 0
