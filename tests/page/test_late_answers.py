"""The page where answers come in another order than they were asked for: what was chosen last is what is shown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.browsing import PATIENCE_MS, Late, drawn
from support.experiments import SMALL
from support.experiments import run_here as run_experiment
from support.paging import controlling, paged

import populace

STREAMS = """() => {
    window.sources = [];
    window.EventSource = class extends EventTarget {
        constructor(url) { super(); this.url = url; sources.push(this); }
        close() { sources = sources.filter((one) => one !== this); }
    };
    window.tell = (now) => sources.at(-1).dispatchEvent(new MessageEvent("seen", { data: JSON.stringify(now) }));
}"""
"""Streams in which the test says when there is an event, and what of."""
WITHOUT = """async () => {
    const { NONE } = await import("/static/colours.js"), canvas = document.querySelector("canvas.all");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += NONE.every((one, which) => data[at + which] === one);
    return count;
}"""
"""How many pixels of the map have the colour of no value."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    options = {"model": "scripted", "quiet": True, "seed": 3, "ticks": 3}
    populace.run("polarization", agents=9, out=place / "talk", **options)
    populace.run("newsfeed", agents=15, out=place / "feed", **options)
    return place


def opened(browser, troubles: list[str]):
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.add_init_script(f"({STREAMS})()")
    return tab


def tile(tab, what: str, much: str):
    return tab.locator(".tile", has=tab.get_by_text(what, exact=True)).locator(".much", has_text=much)


def goes(tab, address: str) -> None:
    tab.evaluate("(address) => { location.hash = address; }", address)


def test_of_a_view_or_run_that_was_left_nothing_comes_into_the_next(place, browser):
    troubles: list[str] = []
    with paged(place) as page:
        tab = opened(browser, troubles)
        talk = {**page.get("overview", run="talk"), "status": "at work", "tick": 1}
        feed = page.get("overview", run="feed")
        tab.route(lambda url: "/api/overview?run=talk" in url, lambda route: route.fulfill(json=talk))
        tab.goto(f"{page.url}#run=talk&view=overview")
        tile(tab, "Tick", "1 of 3").wait_for()
        runs, feeds = Late(tab, "/api/runs"), Late(tab, "/api/overview?run=feed")

        tab.get_by_role("link", name="Lineage").click()
        runs.wait()
        tab.evaluate("tell", talk)  # the view before is told no more
        tab.get_by_role("link", name="Overview").click()
        tile(tab, "Tick", "1 of 3").wait_for()
        runs.give()
        assert tab.get_by_text("Runs and their forks").count() == 0
        tab.evaluate("tell", {**talk, "tick": 2})
        tile(tab, "Tick", "2 of 3").wait_for()  # events are for the view that is open

        goes(tab, "run=talk&view=both&with=feed")
        feeds.wait()
        tab.get_by_role("link", name="Messages").click()
        feeds.give(answer={**feed, "status": "at work"})
        assert tab.evaluate("sources.map((one) => one.url)") == ["/api/stream?run=talk"]

        tab.evaluate("sources[0].onerror()")
        tab.get_by_text("the page's server is away").wait_for()
        goes(tab, "run=feed&view=overview")
        feeds.wait()
        goes(tab, "run=feed")  # another view of a run of which nothing is known yet
        feeds.give(1)
        tile(tab, "Agents", "15").wait_for()
        assert tab.locator("#status").inner_text() == "complete", "the server was away from another run's stream"
        feeds.give()

        tab.evaluate("() => { window.dispatchEvent(new Event('focus')); }")
        feeds.wait()
        tab.select_option("#run", "talk")
        tile(tab, "Agents", "9").wait_for()
        feeds.give(answer={**feed, "status": "killed"})
        assert tile(tab, "Agents", "9").count() == 1
        tab.select_option("#run", "feed")
        feeds.wait()
        tab.select_option("#run", "talk")
        tile(tab, "Agents", "9").wait_for()
        feeds.give()
        assert tab.locator("#title").inner_text() == "talk"
        assert tab.locator("#status").inner_text() == "at work"
        assert tile(tab, "Agents", "9").count() == 1

        goes(tab, "run=nowhere&view=overview")
        tab.get_by_role("alert").wait_for()
        tab.select_option("#run", "talk")
        tile(tab, "Agents", "9").wait_for()
        assert troubles == []


def test_in_a_view_what_was_asked_last_is_shown(place, browser):
    troubles: list[str] = []
    with paged(place) as page:
        tab = opened(browser, troubles)

        posts, cascades = Late(tab, "/api/posts?"), Late(tab, "/api/cascade?")
        items, buttons = tab.locator("main .grid .list > li"), tab.get_by_role("button", name="Cascade")
        tab.goto(f"{page.url}#run=feed&view=posts")
        posts.wait()
        tab.get_by_label("Order").select_option("time")
        posts.give(1)
        posts.give()
        tab.get_by_text("originals.").wait_for()
        assert tab.get_by_text("originals.").inner_text().startswith(f"{items.count()} of {items.count()} ")
        cascades.wait()
        buttons.nth(1).click()
        number = cascades.wait(2)[1].url.partition("post=")[2]
        tab.get_by_label("Order").select_option("size")
        posts.give()
        tab.get_by_text("originals.").wait_for()
        assert len(cascades.held) == 2, "the first of a list is for who has chosen none"
        cascades.give(1)
        cascades.give()
        tab.get_by_role("heading", name=f"Post {number} of").wait_for()

        surveys = {"surveys": [{"name": "a", "rows": 1}, {"name": "b", "rows": 150}]}
        tab.route(lambda url: "/api/surveys?" in url, lambda route: route.fulfill(json=surveys))
        tables = Late(tab, "/api/survey?")
        tab.get_by_role("link", name="Surveys").click()
        tables.wait()
        tab.get_by_label("Survey").select_option("b")
        survey = {"columns": ["x"], "rows": [["of b"]], "start": 0, "of": 150, "items": [], "caveat": ""}
        tables.give(1, survey)
        tables.give(0, {**survey, "rows": [["of a"]], "of": 1})
        tab.get_by_role("cell", name="of b").wait_for()
        tab.get_by_role("button", name="Further").dblclick()
        assert ["start=100" in one.url for one in tables.wait(2)] == [True, True]
        tables.give(1, survey)
        tables.give(0, survey)
        tab.get_by_text("rows 100 to 150 of 150").wait_for()

        tab.get_by_role("link", name="Lineage").click()
        compared = Late(tab, "/api/compare?")
        for first, second in (("talk", "feed"), ("feed", "talk")):
            for side, name in enumerate((first, second)):
                tab.locator("main select").nth(side).select_option(name)
            tab.get_by_role("button", name="Compare").click()
        diff = {"identical": True, "notes": [], "settings": {}, "touched": {"ticks": []}, "outcomes": {}, "first": None}
        compared.give(1, {**diff, "notes": ["of the last two"]})
        compared.give(0, diff)
        tab.get_by_text("of the last two").wait_for()

        found = Late(tab, "/api/messages?")
        tab.get_by_role("link", name="Messages").click()
        found.give(answer={"messages": [], "before": None, "of": 9})
        words = tab.get_by_placeholder("Words in a message")
        words.fill("first")
        words.press("Enter")
        found.wait()
        words.fill("second")  # it is not looked for yet
        found.give(answer={"messages": [], "before": 5, "of": 9})
        assert "text=first" in found.wait()[0].url
        message = {
            "sender": 1,
            "receiver": 2,
            "tick_sent": 1,
            "tick_read": 2,
            "fate": "delivered",
            "long": [],
            "row": 0,
        }
        found.give(answer={"messages": [{**message, "body": "first, then second"}], "before": None, "of": 9})
        assert tab.locator("mark").all_inner_texts() == ["first"]
        assert troubles == []


def test_who_has_gone_on_is_neither_taken_back_nor_loses_what_was_typed(place, browser):
    troubles: list[str] = []
    with paged(place, controlling) as page:
        tab = opened(browser, troubles)
        asked, forked, wished = Late(tab, "/api/interview"), Late(tab, "/api/fork"), Late(tab, "/api/wish")
        talk = {**page.get("overview", run="talk"), "status": "at work", "tick": 1}
        tab.route(lambda url: "/api/overview?run=talk" in url, lambda route: route.fulfill(json=talk))
        tab.goto(f"{page.page.address}&run=talk&view=agents&agent=2")
        question = tab.get_by_label("Question")
        question.fill("How are you?")
        question.press("Enter")
        asked.wait()
        question.fill("And where")
        tab.get_by_label("Agent's number").focus()
        asked.give(answer={"answer": "Well."})
        tab.get_by_text("Well.").wait_for()
        assert question.input_value() == "And where"
        assert tab.evaluate("document.activeElement.ariaLabel") == "Agent's number"

        tab.get_by_role("link", name="Control").click()
        tab.get_by_role("button", name="Pause at the next edge").click()
        tab.get_by_role("button", name="End at the next edge").click()
        wished.wait()
        drawn(tab)
        assert [one.data["wish"] for one in wished.held] == ["pause"], "the second follows the first"
        wished.give(answer={})
        assert wished.wait()[0].data["wish"] == "stop"

        tab.get_by_role("button", name="Fork and watch both").click()
        forked.wait()
        tab.get_by_role("link", name="Messages").click()
        tab.get_by_placeholder("Words in a message").wait_for()
        with tab.expect_response("**/api/runs*"):
            forked.give(answer={"run": "feed"})
        drawn(tab)
        assert "view=messages" in tab.url
        assert troubles == []


def test_a_map_is_of_the_newest_that_is_known(place, browser):
    troubles: list[str] = []
    with paged(place) as page:
        tab = opened(browser, troubles)
        talk = {**page.get("overview", run="talk"), "status": "at work", "tick": 1}
        drawn = {**page.get("map", run="talk"), "fields": ["attitude", "other"]}
        tab.route(lambda url: "/api/overview?" in url, lambda route: route.fulfill(json=talk))
        tab.route(lambda url: "/api/map?" in url, lambda route: route.fulfill(json=drawn))
        fields, frames = Late(tab, "/api/field?"), Late(tab, "/api/frames?")
        slider, over = tab.get_by_label("Tick", exact=True), tab.locator(".over")

        def known(ticks: int, high: float, field: str = "attitude") -> dict[str, Any]:
            about = {"ready": True, "kind": "number", "labels": [], "first": 0, "every": 1, "agents": 9}
            return {**about, "field": field, "ticks": ticks, "low": 0.0, "high": high}

        def give_frame(code: int, ticks: int) -> None:
            start = int(frames.wait()[0].url.partition("start=")[2].partition("&")[0])
            about = msgspec.json.encode({"start": start, "count": 1, "agents": 9, "ticks": ticks}).decode()
            headers = {"Content-Type": "application/octet-stream", "X-About": about}
            frames.give(body=bytes([code] * 9), headers=headers)

        def shown(title: str, values: str) -> None:
            rows = tab.locator("table", has=tab.locator("caption", has_text=title))
            rows.get_by_role("row", name=f"{values} 9").wait_for()

        tab.goto(f"{page.url}#run=talk&view=map&colour=attitude")
        fields.wait()
        tab.get_by_role("button", name="Play").click()  # there is nothing to play yet
        tab.evaluate("tell", talk)
        assert over.inner_text() == "Making attitude ready …"
        fields.give(answer=known(2, 10.0))
        give_frame(100, 2)
        fields.give(answer=known(3, 10.0))  # the event came while the first was asked
        assert slider.get_attribute("max") == "2"

        slider.fill("2")
        give_frame(100, 3)
        for _ in range(2):
            tab.evaluate("tell", talk)
        fields.give(1, known(4, 20.0))
        fields.give(0, known(3, 15.0))
        assert slider.get_attribute("max") == "3"
        give_frame(100, 4)
        shown("attitude at tick 3", "6 to 8")

        slider.fill("1")
        frames.wait()
        tab.evaluate("tell", talk)
        fields.give(answer=known(5, 40.0))
        give_frame(200, 4)  # it is of the scale before
        give_frame(100, 5)
        shown("attitude at tick 1", "12 to 16")

        slider.fill("4")
        give_frame(0, 5)
        shown("attitude at tick 4", "0 to 4")
        slider.fill("1")
        shown("attitude at tick 1", "12 to 16")
        slider.fill("4")
        give_frame(100, 5)  # there was more to come of the last one
        shown("attitude at tick 4", "12 to 16")

        colour = tab.locator("#colour")
        colour.select_option("other")
        colour.select_option("attitude")
        fields.give(1, known(5, 40.0))
        assert tab.evaluate(WITHOUT) > 0, "codes of another colour's values stand for nothing"
        give_frame(100, 5)
        fields.give(0, {"error": "there is none"}, 409)
        assert over.is_hidden()
        assert troubles == []


def test_an_experiment_at_work_is_followed_though_an_answer_fails(tmp_path, browser):
    troubles: list[str] = []
    with ThreadPoolExecutor() as elsewhere:  # the browser's loop runs in this thread
        elsewhere.submit(run_experiment, SMALL, tmp_path / "small", {"agents": 8, "ticks": 5}).result()
    with paged(tmp_path) as page:
        tab = opened(browser, troubles)
        seen = {**page.get("experiment", name="small"), "status": "at work"}
        looks = Late(tab, "/api/experiment?")
        tab.goto(f"{page.url}#view=experiment&name=small")
        looks.give(answer={**seen, "complete": 1})
        tab.get_by_text(f"1 of {seen['replicates']} replicates done").wait_for()
        looks.give(answer={"error": "it is being restarted"}, status=503)
        looks.give(answer={**seen, "complete": 2, "status": "complete"})
        tab.get_by_text(f"2 of {seen['replicates']} replicates done").wait_for()
        assert troubles == []
