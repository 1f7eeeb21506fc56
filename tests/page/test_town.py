"""A city on record and on the page: where residents are at each tick, as they saw it themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.paging import Asked, paged
from support.streets import AGENTS, SOCIETY, TICKS

import populace
from populace.core.errors import StorageError
from populace.env.city.trips import Trips
from populace.page.panels import Panel
from populace.page.town import Town, read_places
from populace.store.tables.tables import read_table


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("towns")
    (place / "street.py").write_text(SOCIETY, encoding="utf-8")
    options = {"model": "scripted", "quiet": True}
    populace.run(place / "street.py", out=place / "one", **options)
    populace.run(place / "street.py", out=place / "two", shards=2, **options)
    left_out = {"record": {"whereabouts": False}}
    populace.run(place / "street.py", ticks=2, out=place / "none", settings=left_out, **options)
    return place


@pytest.fixture(scope="module")
def page(place):
    with paged(place) as asked:
        yield asked


def seen_by_residents(folder: Path) -> dict[str, np.ndarray]:
    """What residents saw of themselves at each tick, (ticks, agents), by their own public fields."""
    run = populace.load(folder)
    return {name: run.panel(name).to_numpy()[1:] for name in ("x_m", "y_m", "kind", "status")}


def test_residents_are_drawn_where_they_saw_themselves(page: Asked, place):
    about = page.get("map", run="one")
    assert (about["kind"], about["agents"], about["plane"]) == ("city", AGENTS + 1, None)
    town = about["town"]
    assert town["names"] == ["North <b>", "South", "Bäcker"]
    data, said = page.columns("whereabouts", run="one", start=0, count=100)
    assert said["count"] == TICKS + 1
    drawn = np.frombuffer(data, "<i2").reshape(TICKS + 1, AGENTS + 1, 2) / town["scale"]
    codes, _ = page.columns("frames", run="one", field="city.kind", start=0, count=100)
    kinds = np.array(town["labels"])[np.frombuffer(codes, np.uint8).reshape(TICKS + 1, -1)]
    seen = seen_by_residents(place / "one")
    of_status = {"there": "", "on_the_way": "on the way", "outside": "turned away", "nowhere": "nowhere"}
    shown = set()
    for tick in range(TICKS):
        for agent in range(AGENTS + 1):
            status = seen["status"][tick][agent]
            if (agent == 2 and tick > 6) or (agent == AGENTS and tick <= 4):
                assert kinds[tick, agent] == "nowhere"
                continue
            if (tick, agent) == (6, 2):
                continue  # what it saw last went with it
            wanted = np.array([seen["x_m"][tick][agent] - 1000.0, 450.0 - seen["y_m"][tick][agent]]) / 1000.0
            off = np.abs(drawn[tick, agent] - wanted).max()
            assert off <= 0.026 * np.sqrt(AGENTS + 1) + 1e-3, (tick, agent)
            assert kinds[tick, agent] == (of_status[status] or seen["kind"][tick][agent]), (tick, agent)
            shown.add(status)
    assert shown == {"there", "on_the_way", "outside"}, "the society shows what is to be tried"
    assert len(np.unique(drawn[0, :AGENTS], axis=0)) == AGENTS, "nobody stands on another"


def test_how_many_are_where_is_said_for_the_table_under_the_map(page: Asked):
    _, said = page.columns("whereabouts", run="one", start=0, count=100)
    labels = page.get("map", run="one")["town"]["labels"]
    codes, _ = page.columns("frames", run="one", field="city.kind", start=3)
    assert said["counts"][3] == np.bincount(np.frombuffer(codes, np.uint8), minlength=len(labels)).tolist()
    assert sum(said["counts"][3]) == AGENTS + 1


def test_the_tables_are_the_same_on_any_shards_and_in_a_replay(place, tmp_path):
    populace.replay(populace.load(place / "one"), out=tmp_path / "again")
    for name in ("places", "whereabouts"):
        table = read_table(place / "one", name)
        assert table.num_rows
        assert table.equals(read_table(place / "two", name))
        assert table.equals(read_table(tmp_path / "again", name))


def test_only_what_changed_is_on_record(place):
    rows = read_table(place / "one", "whereabouts").to_pandas()
    assert rows[rows.tick == 0].agent.tolist() == list(range(AGENTS))
    assert rows[rows.tick > 0].groupby("tick").size().max() < AGENTS
    same = (
        rows.groupby("agent")[["place", "origin", "to", "arrives"]]
        .shift()
        .eq(rows[["place", "origin", "to", "arrives"]])
    )
    assert not same.all(axis=1).any()


def test_a_run_that_does_not_keep_it_says_so(page: Asked):
    about = page.get("map", run="none")
    assert (about["town"], about["keeps_town"], about["kind"]) == (None, False, "none")
    assert page.raw("/api/whereabouts?run=none")[0] == 404


def test_what_is_read_as_it_comes_is_what_is_read_at_once(place, tmp_path):
    """A run at work writes parts; each is taken as it comes."""
    whole = Town(place / "one", read_places(place / "one"), tmp_path)
    whole.update()
    folder = tmp_path / "parts"
    (folder / "parts").mkdir(parents=True)
    (folder / "places.parquet").write_bytes((place / "one" / "places.parquet").read_bytes())
    grown = Town(folder, read_places(folder), tmp_path)
    for number, (first, last) in enumerate([(0, 5), (6, 8), (9, TICKS)]):
        for name in ("whereabouts", "outcomes", "turnover"):
            if not (place / "one" / f"{name}.parquet").exists():
                continue
            table = pq.read_table(place / "one" / f"{name}.parquet")
            tick = table.column("tick")
            part = table.filter(pc.and_(pc.greater_equal(tick, first), pc.less_equal(tick, last)))
            if part.num_rows:
                pq.write_table(part, folder / "parts" / f"{name}-{number:06}.parquet")
        grown.update()
    assert grown.ticks == whole.ticks
    for tick in range(whole.ticks):
        assert np.array_equal(grown.where(tick), whole.where(tick))


def test_control_a_resident_who_is_not_told_of_is_seen_elsewhere(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Trips, "went", lambda self: np.empty(0, np.int32))
    populace.run(place / "street.py", model="scripted", quiet=True, out=tmp_path / "still")
    town = Town(tmp_path / "still", read_places(tmp_path / "still"), tmp_path)
    town.update()
    assert {town.labels[int(one)] for one in town.row(5)} == {"home"}


def first(value):
    def change(table, column):
        at = table.schema.get_field_index(column)
        values = [value, *table.column(column).to_pylist()[1:]]
        return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))

    return change


@pytest.mark.parametrize(
    ("name", "column", "change", "said"),
    [
        ("places", "x", lambda table, _: table.slice(0, 1), "whereabouts: does not go with this run's other tables"),
        ("places", "kind", lambda table, column: table.drop_columns([column]), "places: does not go with"),
        ("places", "x", first(float("nan")), "places: does not go with .*a place that is nowhere"),
        ("whereabouts", "agent", first(2**31 - 1), "2,147,483,648 residents; a page shows 50,000,000 at most"),
    ],
)
def test_tables_that_do_not_go_together_are_named(place, tmp_path, name, column, change, said):
    """Each was an error of the server's own that named nothing; the last one took all memory."""
    shutil.copytree(place / "one", tmp_path / "one")
    table = pq.read_table(tmp_path / "one" / f"{name}.parquet")
    pq.write_table(change(table, column), tmp_path / "one" / f"{name}.parquet")
    with pytest.raises(StorageError, match=said):
        Town(tmp_path / "one", read_places(tmp_path / "one"), tmp_path).update()


def test_a_field_of_more_agents_than_can_be_is_refused(place, tmp_path):
    shutil.copytree(place / "one", tmp_path / "one")
    file = tmp_path / "one" / "agents.parquet"
    pq.write_table(first(2**31 - 1)(pq.read_table(file), "agent"), file)
    with pytest.raises(StorageError, match="2,147,483,648 agents; a page shows"):
        Panel(tmp_path / "one", "x_m", tmp_path).update()
