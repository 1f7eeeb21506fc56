"""The page in a real browser, while a run is at work and after: what a person sees and does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.browsing import PATIENCE_MS, Late
from support.command import Begun, populace
from support.paging import controlling, paged, until
from support.streets import SOCIETY as STREET

from populace.monitoring.progress_file import PROGRESS
from populace.store.control import CONTROL, want

SOCIETY = """
import os
import time

from populace import Agent, Population, Public, Society, World
from populace.env import Network

class Citizen(Agent):
    support: Public[float]
    side: Public[str] = "neither"

    async def turn(self, ctx):
        while ctx.tick == 3 and not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        await ctx.ask("Do you agree?")
        self.support += 1.0
        self.side = "left" if self.support < 5.0 else "right"
        ctx.send((ctx.id + 1) % 12, f"<b>tick {ctx.tick}</b> from {ctx.id} \\u202eabc")

society = Society(name="browsed", agent=Citizen, outcomes={"mean": lambda world: world.columns["support"].mean()},
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=4, rewire=0.2)),
                  population=lambda setup: Population({"support": [float(i % 4) for i in range(setup.agents)]}))
"""


TICK = b'"event":"tick"'
MOVED = """() => { const last = document.querySelector("section.chart .last"), was = last.textContent;
    return { moved: new Promise((done) => new MutationObserver(() => last.textContent !== was && done(Date.now()))
        .observe(last, { childList: true, characterData: true, subtree: true })) }; }"""


@pytest.fixture
def begun(tmp_path):
    (tmp_path / "society.py").write_text(SOCIETY, encoding="utf-8")
    command = ["run", "society.py", "--model", "scripted", "--agents", "12"]
    options = ("--ticks", "6", "--set", "checkpoint.every_ticks=1", "--out", "run")
    env = {**os.environ, "GO": str(tmp_path / "go")}
    run = Begun(*command, *options, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, text=False)
    parts = tmp_path / "run" / "parts"
    until(lambda: len([*parts.glob("outcomes-*.parquet")]) >= 3)
    yield run, tmp_path / "run"
    run.kill()
    run.communicate()


def opened(browser, url: str, troubles: list[str]):
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    tab.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.goto(url)
    return tab


def drawn(tab) -> int:
    """How many pixels of the map have a colour."""
    return tab.evaluate(
        """() => { const canvas = document.querySelector("canvas.all");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0; for (let at = 3; at < pixels.length; at += 4) count += pixels[at] > 0; return count; }"""
    )


def test_a_run_is_watched_from_its_middle_to_its_end_and_after(begun, browser):
    run, folder = begun
    troubles: list[str] = []
    with paged(folder) as page:
        tab = opened(browser, page.url, troubles)
        tab.get_by_text("at work", exact=True).wait_for()
        curve = tab.locator("section.chart", has_text="mean")
        curve.locator(".last", has_text="4.5").wait_for()
        tab.get_by_text("3 of 6", exact=True).wait_for()
        (folder.parent / "go").touch()
        curve.locator(".last", has_text="7.5").wait_for()  # it moves without a reload
        tab.get_by_text("complete", exact=True).wait_for()
        assert run.wait(60) == 0

        tab.get_by_role("link", name="Map").click()
        tab.locator("#colour").select_option("side")
        tab.locator(".over").wait_for(state="hidden")
        tab.get_by_role("cell", name="right").wait_for()
        assert drawn(tab) > 1000
        tab.get_by_role("button", name="Play").click()
        tab.locator(".at", has_text="tick 6").wait_for()
        tab.get_by_role("button", name="Play").wait_for()
        tab.get_by_label("Tick", exact=True).focus()
        tab.keyboard.press("Home")
        tab.locator(".at", has_text="tick 0").wait_for()
        tab.get_by_role("cell", name="neither").wait_for()
        tab.get_by_label("Agent's number").fill("7")
        tab.get_by_role("button", name="Find").click()
        tab.get_by_role("link", name="Its page").click()

        tab.get_by_role("heading", name="Agent 7").wait_for()
        tab.locator("section", has_text="support").locator(".much", has_text="9").first.wait_for()
        tab.get_by_text("Prompt and answer").first.click()
        tab.get_by_text("Do you agree?").first.wait_for()

        tab.get_by_role("link", name="Messages").click()
        tab.get_by_placeholder("Words in a message").fill("TICK 4")
        tab.keyboard.press("Enter")
        tab.get_by_text("12, that is all.").wait_for()
        first = tab.locator(".list .text").first.inner_text()
        assert first.startswith("<b>tick 4</b> from"), "markup is text"
        assert "\\u202eabc" in first, "what would turn text round is seen"
        tab.reload()
        tab.get_by_placeholder("Words in a message").wait_for()
        assert tab.locator("b").count() == 0
        address = tab.url
    with paged(folder) as again:  # the page was ended and begun anew
        tab.goto(address.replace(page.url, again.url))
        tab.get_by_placeholder("Words in a message").wait_for()
        tab.get_by_role("link", name="Overview").click()
        tab.locator("section.chart", has_text="mean").locator(".last", has_text="7.5").wait_for()
        tab.close()
    assert [one for one in troubles if "ERR_CONNECTION" not in one] == []


def test_a_run_is_controlled_killed_and_found_as_it_was(begun, browser, monkeypatch):
    run, folder = begun
    monkeypatch.setenv("GO", str(folder.parent / "go"))
    troubles: list[str] = []
    with paged(folder, controlling) as page:
        stranger = opened(browser, f"{page.url}#view=control", [])
        stranger.get_by_text("To control the run, open the address").wait_for()
        stranger.get_by_role("button", name="Pause at the next edge").click()
        stranger.get_by_text("this needs the token of the page").wait_for()
        assert not (folder / CONTROL).exists()
        stranger.close()

        tab = opened(browser, f"{page.page.address}&view=control", troubles)
        tab.get_by_text("at work on tick 3").wait_for()
        assert "token" not in tab.url, "the token leaves the address"
        tab.get_by_role("button", name="Pause at the next edge").click()
        tab.get_by_text("asked to pause at the next edge").wait_for()
        (folder.parent / "go").touch()
        tab.get_by_text("paused before tick 4").wait_for()
        tab.locator("#status", has_text="paused").wait_for()
        tab.reload()
        tab.get_by_text("paused before tick 4").wait_for()
        tab.goto(f"{page.url}#view=agents&agent=7")
        tab.get_by_label("Question").fill("How was your week?")
        tab.get_by_role("button", name="Ask", exact=True).click()
        tab.get_by_label("Interview").locator("li .text").wait_for()

        tab.get_by_role("link", name="Control").click()
        tab.get_by_label("Lever").fill("block={sender=[1]}")
        tab.get_by_role("button", name="Fork and watch both").click()
        both = tab.locator("section.chart", has_text="mean")
        both.locator(".last", has_text="· 7.5").wait_for()  # the fork's end, while its parent waits

        tab.goto(f"{page.url}#run=run&view=overview")
        curve = tab.locator("section.chart", has_text="mean")
        curve.locator(".last", has_text="5.5").wait_for()
        before = (folder / PROGRESS).stat().st_size
        ticked = tab.evaluate_handle(MOVED)
        want(folder, "go")
        lines = until(lambda: [line for line in (folder / PROGRESS).read_bytes()[before:].splitlines() if TICK in line])
        told_s = msgspec.json.decode(lines[0])["at_s"]
        moved_s = ticked.evaluate("one => one.moved.then((at) => at / 1000)") - told_s
        sys.stderr.write(f"the curve moved {moved_s:.2f} s after the tick was told\n")
        tab.get_by_text("complete", exact=True).wait_for()
        assert run.wait(60) == 0
        tab.close()
    assert [one for one in troubles if "ERR_CONNECTION" not in one] == []


def test_a_killed_run_stays_as_it_was_through_a_refresh_and_a_new_server(begun, browser):
    run, folder = begun
    with paged(folder) as page:
        tab = opened(browser, page.url, [])
        tab.get_by_text("at work", exact=True).wait_for()
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        tab.get_by_text("killed", exact=True).wait_for()
        curve = tab.locator("section.chart", has_text="mean")
        curve.locator(".last", has_text="4.5").wait_for()
        tab.reload()
        curve.locator(".last", has_text="4.5").wait_for()
    with paged(folder) as again:
        tab.goto(again.url)
        tab.get_by_text("The run was killed before it could say").wait_for()
        curve.locator(".last", has_text="4.5").wait_for()
        (folder.parent / "go").touch()
        done = populace("resume", "run", cwd=folder.parent, GO=str(folder.parent / "go"))
        assert done.returncode == 0, done.stderr
        tab.reload()
        tab.get_by_text("complete", exact=True).wait_for()
        curve.locator(".last", has_text="7.5").wait_for()
        tab.close()


def test_a_city_is_a_map_that_moves_with_a_table_under_it(tmp_path, browser):
    (tmp_path / "street.py").write_text(STREET, encoding="utf-8")
    done = populace("run", "street.py", "--model", "scripted", "--out", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with paged(tmp_path / "run") as asked:
        page, errors = browser.new_page(viewport={"width": 900, "height": 700}), []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.emulate_media(reduced_motion="reduce")
        late = Late(page, "/api/field?", "city.kind")
        page.goto(f"{asked.url}#view=map")
        page.locator("select#colour option").first.wait_for(state="attached")
        assert page.locator("select#colour option").first.inner_text() == "city.kind"
        page.select_option("select#colour", "status")
        rows = page.locator("table", has=page.locator("caption", has_text="Residents at tick 12")).locator("tbody tr")
        rows.first.wait_for()
        assert late.wait(), "what was chosen first never comes"
        slider, shots, counted = page.get_by_label("Tick", exact=True), set(), set()
        for tick in ("0", "2", "5"):
            slider.fill(tick)
            page.get_by_text(f"Residents at tick {tick}").wait_for(state="attached")
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            counted.add(tuple(page.locator("table").last.locator("td.n").all_inner_texts()))
            shots.add(page.locator("canvas.all").screenshot())
        assert len(shots) == 3, "residents are elsewhere"
        assert len(counted) == 3
        slider.fill("0")
        page.get_by_role("button", name="Play").click()
        page.get_by_text("tick 12", exact=True).wait_for()
        page.get_by_text("Residents at tick 12").wait_for(state="attached")
        assert errors == []


VOTES = """
from populace import Agent, Population, Public, Society, World
from populace.env import Network

class Voter(Agent):
    voted: Public[bool]

    async def turn(self, ctx):
        pass

society = Society(name="votes", agent=Voter, size=4, ticks=1,
                  world=lambda setup, people: World(Network.watts_strogatz(setup, neighbours=2, rewire=0.0)),
                  population=lambda setup: Population({"voted": [i > 0 for i in range(setup.agents)]}))
"""
FIRST_PIXELS = """() => [...document.querySelectorAll("td canvas")].map((one) =>
    [...one.getContext("2d").getImageData(0, 0, 1, 1).data.slice(0, 3)])"""


def test_of_yes_and_no_the_table_has_the_colours_of_the_map(tmp_path, browser):
    (tmp_path / "votes.py").write_text(VOTES, encoding="utf-8")
    done = populace("run", "votes.py", "--model", "scripted", "--out", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with paged(tmp_path / "run") as asked:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{asked.url}#view=map")
        page.locator("table caption", has_text="voted at tick").wait_for(state="attached")
        assert page.evaluate(FIRST_PIXELS) == [[68, 1, 84], [253, 231, 37]], "the two ends of the scale"


def test_a_folder_has_its_lineage_before_a_run_is_chosen(begun, browser):
    run, folder = begun
    (folder.parent / "go").touch()
    assert run.wait(60) == 0
    with paged(folder.parent) as page:
        troubles: list[str] = []
        tab = opened(browser, page.url, troubles)
        tab.get_by_role("link", name="Lineage").click()
        tab.get_by_role("heading", name="Runs and their forks").wait_for()
        tab.close()
    assert troubles == []


def test_values_at_an_axis_can_be_told_apart(begun, browser):
    """Three digits would say 0.5 of the three in the middle."""
    _, folder = begun
    with paged(folder) as page:
        tab = opened(browser, page.url, [])
        labels = "async (values) => (await import('/static/curves.js')).axisLabels(values)"
        assert tab.evaluate(labels, [0.499, 0.4995, 0.5, 0.5005]) == ["0.499", "0.4995", "0.5", "0.5005"]
        assert tab.evaluate(labels, [0.0, 0.025, 0.05]) == ["0", "0.025", "0.05"]
        assert tab.evaluate(labels, [0.1 + 0.2, 0.4]) == ["0.3", "0.4"]
        assert tab.evaluate(labels, [7.5]) == ["7.5"]
        tab.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(begun, browser):
    run, folder = begun
    (folder.parent / "go").touch()
    assert run.wait(60) == 0
    with paged(Path(folder), controlling) as page:
        tab = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
        tab.set_default_timeout(PATIENCE_MS)
        last = {
            "overview": ".uplot",
            "map": ".legend",
            "messages": "li",
            "agents": "select",
            "lineage": ".tree",
            "control": "button",
        }
        for view, part in last.items():
            tab.goto(f"{page.url}#view={view}")
            tab.locator(f"main {part}").first.wait_for(state="attached")
            tab.wait_for_load_state("networkidle")
            assert tab.evaluate("document.documentElement.scrollWidth") <= 360, view
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 28)"
        tab.close()
