"""What the page's server gives of real runs: as the run's own tables have it, at work, ended, killed or foreign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.paging import Asked, paged

import populace
from populace.core.errors import SettingsError
from populace.monitoring.progress_file import PROGRESS
from populace.page.lineage import compared
from populace.page.shelf import Shelf
from populace.page.views import VIEWS

TICKS, AGENTS = 6, 20


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a run of neighbours who talk, and one of a platform."""
    place = tmp_path_factory.mktemp("runs")
    options = {"model": "scripted", "quiet": True, "seed": 3}
    populace.run("polarization", agents=AGENTS, ticks=TICKS, out=place / "talk", **options)
    populace.run("newsfeed", agents=12, ticks=5, out=place / "feed", **options)
    return place


@pytest.fixture(scope="module")
def page(place):
    with paged(place) as asked:
        yield asked


@pytest.fixture(scope="module")
def talk(place) -> populace.Run:
    return populace.load(place / "talk")


def test_all_runs_of_a_folder_are_listed(page: Asked):
    found = page.get("runs")
    assert [(one["name"], one["status"], one["scenario"]) for one in found["runs"]] == [
        ("feed", "complete", "newsfeed"), ("talk", "complete", "polarization"),
    ]  # fmt: skip
    assert found["alone"] is False


def test_the_overview_is_what_manifest_and_outcomes_say(page: Asked, talk):
    seen, manifest = page.get("overview", run="talk"), talk.manifest
    assert (seen["status"], seen["tick"], seen["ticks"], seen["agents"]) == ("complete", TICKS, TICKS, AGENTS)
    for key in ("turns", "cost_usd", "tokens_in", "tokens_out", "seed"):
        assert seen[key] == manifest[key], key
    assert seen["asks"] == manifest["asks"]["made"]
    assert seen["messages"] == manifest["messages"]["sent"]
    curves = seen["curves"]
    assert curves["ticks"] == talk.outcomes.index.tolist()
    assert set(curves["names"]) == set(talk.outcomes)
    for name, values in zip(curves["names"], curves["values"], strict=True):
        assert np.allclose(np.array(values, float), talk.outcomes[name].to_numpy(), equal_nan=True)


@pytest.mark.parametrize("field", ["attitude"])
def test_frames_and_series_are_the_panel(page: Asked, talk, field):
    panel = talk.panel(field).to_numpy()
    about = page.get("field", run="talk", field=field)
    assert (about["ticks"], about["agents"], about["every"]) == (TICKS + 1, AGENTS, 1)
    assert (about["low"], about["high"]) == (panel.min(), panel.max())
    data, said = page.columns("frames", run="talk", field=field, start=0, count=100, exact="true")
    assert said["count"] == TICKS + 1
    assert np.array_equal(np.frombuffer(data, "<f4").reshape(-1, AGENTS), panel.astype("<f4"))
    codes, _ = page.columns("frames", run="talk", field=field, start=0, count=100)
    back = panel.min() + np.frombuffer(codes, np.uint8).reshape(-1, AGENTS) / 254.0 * (panel.max() - panel.min())
    assert np.abs(back - panel).max() <= (panel.max() - panel.min()) / 254.0
    assert page.get("series", run="talk", agent=7, field=field)["values"] == panel[:, 7].tolist()


def test_the_map_has_the_networks_edges(page: Asked, talk):
    about = page.get("map", run="talk")
    assert (about["kind"], about["agents"]) == ("network", AGENTS)
    ties = talk.table("ties")
    edges, said = page.columns("edges", run="talk", tick=0)
    assert said["of"] == len(ties) == about["edges"]
    assert {tuple(one) for one in np.frombuffer(edges, "<i4").reshape(-1, 2).tolist()} == set(
        zip(ties["source"], ties["target"], strict=True)
    )
    places = np.frombuffer(page.columns("places", run="talk")[0], "<f4").reshape(-1, 2)
    assert places.shape == (AGENTS, 2)
    assert np.abs(places).max() <= 1.0
    assert len(np.unique(places, axis=0)) == AGENTS, "nobody stands on another"


def test_messages_are_searched_in_whichever_case_and_by_agent(page: Asked, talk):
    table = talk.table("messages")
    word = "because"
    wanted = table[table["body"].str.contains(word, case=False)]
    assert 0 < len(wanted) < len(table)
    found, before = [], None
    while True:
        got = page.get(
            "messages", run="talk", text=word.upper(), want=7, **({} if before is None else {"before": before})
        )
        found += got["messages"]
        before = got["before"]
        if before is None:
            break
    assert [one["row"] for one in found] == wanted.index.tolist()[::-1]
    mine = page.get("messages", run="talk", agent=4, want=200)["messages"]
    assert {one["row"] for one in mine} == set(table[(table.sender == 4) | (table.receiver == 4)].index)
    assert mine
    assert mine[0]["body"] == json.loads(table.loc[mine[0]["row"], "body"])


def test_an_agents_asks_come_with_prompt_and_answer(page: Asked, talk):
    table = talk.table("asks")
    own = table[table.agent == 5]
    found = page.get("asks", run="talk", agent=5, want=200)["asks"]
    assert [one["row"] for one in found] == own.index.tolist()[::-1]
    texts = page.get("whole", run="talk", table="asks", row=found[0]["row"])["texts"]
    assert texts["prompt"] == own["prompt"].iloc[-1]


def test_posts_have_the_numbers_by_which_the_feed_knows_them(page: Asked, place):
    """What agents said they had read, and whom that was of, can only be right where the numbers are."""
    run = populace.load(place / "feed")
    found = page.get("posts", run="feed", by="time", want=200)
    assert found["of"] == len(found["posts"]) > 5
    actions = run.table("actions").query("fate == 'applied'")
    shares = actions[actions.kind.isin(["feed.share", "feed.repost"])]
    assert sum(one["size"] - 1 for one in found["posts"]) == len(shares)
    authors = {one["post"]: (one["author"], one["tick"], one["text"]) for one in found["posts"]}
    said = {
        (row.agent, row.tick, json.loads(row.args)["text"])
        for row in actions[actions.kind.isin(["feed.post", "feed.quote"])].itertuples()
    }
    assert set(authors.values()) == said
    for row in shares.itertuples():  # nobody shares a post before it is there
        post = json.loads(row.args)["post"]
        assert post not in authors or authors[post][1] < row.tick
    largest = page.get("posts", run="feed", by="size", want=1)["posts"][0]
    tree = page.get("cascade", run="feed", part="feed", post=largest["post"])
    assert tree["size"] == largest["size"] > 1
    assert tree["members"][0]["under"] == -1
    assert all(0 <= one["under"] < at for at, one in enumerate(tree["members"]) if at)


@pytest.mark.parametrize(
    ("view", "given", "status"),
    [
        ("overview", {"run": "nobody"}, 404),
        ("overview", {"run": "../talk"}, 404),
        ("overview", {"run": "/etc"}, 404),
        ("overview", {"run": "talk/../feed"}, 404),
        ("nothing", {"run": "talk"}, 404),
        ("field", {"run": "talk", "field": "../../run.json"}, 404),
        ("whole", {"run": "talk", "table": "../manifest", "row": 0}, 404),
        ("whole", {"run": "talk", "table": "asks", "row": 10**9}, 404),
        ("survey", {"run": "talk", "name": "../agents"}, 404),
        ("agent", {"run": "talk", "agent": AGENTS}, 404),
        ("agent", {"run": "talk", "agent": -5}, 400),
        ("agent", {"run": "talk", "agent": "x"}, 400),
        ("messages", {"run": "talk", "want": 10**9}, 400),
        ("frames", {"run": "talk", "field": "attitude", "count": "1e9"}, 400),
    ],
)
def test_what_is_not_there_is_said_and_no_path_leaves_the_place(page: Asked, view, given, status):
    from urllib.parse import urlencode

    found, headers, body = page.raw(f"/api/{view}?{urlencode(given)}")
    assert found == status, body
    assert b"Traceback" not in body
    assert headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2f..%2fserver.py", "/run.json"]
)
def test_only_the_pages_own_files_are_served(page: Asked, path):
    status, _, body = page.raw(path)
    assert status == 404
    assert b"import" not in body


def test_a_page_from_elsewhere_is_refused(page: Asked):
    for headers in ({"Host": "rebound.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/", "/api/overview?run=talk", "/api/stream?run=talk", "/static/main.js"):
            assert page.raw(path, headers=headers)[0] == 403, (headers, path)


def test_to_look_changes_no_byte_of_a_run(page: Asked, place):
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }

    before = state()
    for view, given in (
        ("overview", {}), ("map", {}), ("field", {"field": "attitude"}), ("messages", {"text": "a"}),
        ("asks", {"agent": 1}),
        ("actions", {"agent": 1}), ("agent", {"agent": 1}), ("posts", {}), ("surveys", {}),
    ):  # fmt: skip
        page.get(view, run="talk", **given)
    page.events(run="talk")
    assert state() == before
    assert place.stat().st_nlink == 4, "no folder was made"


def test_a_link_that_leads_out_of_the_folder_is_no_run(place, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copytree(place / "talk", inside / "mine")
    (inside / "theirs").symlink_to(place / "feed")
    assert list(Shelf(inside).runs()) == ["mine"]


def test_a_forks_lever_is_shown_as_it_was_written(talk, tmp_path):
    lever = {"at": 1, "block": {"sender": [0]}}
    parted = populace.fork(talk, 1, levers=[lever], out=tmp_path / "parted", quiet=True)
    one, other = compared(talk.folder, parted.folder)["settings"]["levers"]
    assert (one, json.loads(other)) == ("none", [lever])


def test_surveys_are_summed_up_by_item_and_wave(place, tmp_path):
    asked = tmp_path / "asked"
    shutil.copytree(place / "talk", asked)
    populace.survey(asked, "cesd10", [0, 3], quiet=True)
    table = pq.read_table(next((asked / "probes").glob("*.parquet"))).to_pandas()
    with paged(asked) as page:
        [about] = page.get("surveys")["surveys"]
        assert about["rows"] == len(table) == 2 * 10 * AGENTS
        found = page.get("survey", name=about["name"], want=5)
        assert len(found["rows"]) == 5
        assert len(found["items"]) == 20
        for one in found["items"]:
            rows = table[(table["item"] == one["item"]) & (table["tick"] == one["tick"])]
            assert (one["asked"], one["abstained"]) == (len(rows), rows["abstained"].notna().sum())
            assert one["mean"] == pytest.approx(rows["answer"].mean())
            assert sum(count for _, count in one["labels"]) == rows["label"].notna().sum()


def test_where_there_is_no_run_that_is_said(tmp_path):
    with pytest.raises(SettingsError, match="holds no run"):
        Shelf(tmp_path)


def test_a_run_of_before_it_told_of_itself_is_shown(place, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(place / "talk", old)
    (old / PROGRESS).unlink()
    (old / "ties.parquet").unlink()
    with paged(old) as page:
        seen = page.get("overview")
        assert (seen["tick"], seen["agents"], len(seen["curves"]["ticks"])) == (TICKS, AGENTS, TICKS + 1)
        assert page.get("map")["kind"] == "contacts", "who wrote to whom stands for the network"
        [(kind, told)] = page.events()
        assert kind == "end", "a run that has ended is told of once, and the stream ends"
        assert {**told, "now_s": 0.0} == {**seen, "now_s": 0.0}


def test_a_damaged_table_is_named_and_the_rest_is_shown(place, tmp_path):
    hurt = tmp_path / "hurt"
    shutil.copytree(place / "talk", hurt)
    path = hurt / "messages.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with paged(hurt) as page:
        status, _, body = page.raw("/api/messages?text=a")
        assert status == 409
        assert b"cannot be read as Parquet" in body
        assert page.get("asks", agent=1)["asks"]


def test_a_bug_is_said_as_anything_else_is_and_told_in_the_terminal(page: Asked, monkeypatch, capfd):
    def broken(*_: object) -> object:
        raise ZeroDivisionError("a secret of the machine")

    takes, _ = VIEWS["overview"]
    monkeypatch.setitem(VIEWS, "overview", (takes, broken))
    status, headers, body = page.raw("/api/overview?run=talk")
    assert status == 500
    assert headers["content-type"].startswith("application/json")
    assert headers["x-content-type-options"] == "nosniff"
    said = json.loads(body)["error"]
    assert "/api/overview: a bug in populace (ZeroDivisionError)" in said
    assert "secret" not in said
    assert "a secret of the machine" in capfd.readouterr().err
