"""Places from files: GeoJSON, CSV, Parquet; degrees as metres; errors that name file and row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from support.env_support import Setup, opened

import populace
from populace import read_places
from populace.core.errors import ScenarioError
from populace.env import City, Places

SQUARE = [[[13.0, 52.0], [13.2, 52.0], [13.2, 52.2], [13.0, 52.2], [13.0, 52.0]]]


def feature(amenity: str, geometry: str, where: object, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": {"type": geometry, "coordinates": where},
            "properties": {"amenity": amenity, **properties}}  # fmt: skip


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_geojson(tmp_path: Path):
    path = tmp_path / "city.geojson"
    path.write_text(collection(
        feature("house", "Point", [13.0, 52.0], capacity=4), feature("bench", "Point", [0, 0]),
        feature("cafe", "Polygon", SQUARE, name="Rose", opens="08:00"),
        feature("pub", "MultiPolygon", [SQUARE, [[[13.2, 52.0], [13.4, 52.0], [13.3, 52.2], [13.2, 52.0]]]]),
    ))  # fmt: skip
    kinds = {"house": "home", "cafe": "leisure", "pub": "leisure"}
    columns = read_places(path, kind="amenity", kinds=kinds, origin=(13.0, 52.0))
    assert columns["kind"] == ["home", "leisure", "leisure"]
    assert columns["capacity"] == [4, None, None]
    degree = np.pi / 180 * 6_371_008.8
    east = degree * np.cos(np.radians(52.0))
    assert columns["x"] == pytest.approx([0, 0.1 * east, (0.1 * 2 + 0.3) / 3 * east])
    assert columns["y"] == pytest.approx([0, 0.1 * degree, (0.1 * 2 + 0.2 / 3) / 3 * degree])
    world = opened(3, City.of(Setup(3), Places(**columns)))
    assert world.look("city.at_place", [0], [{"place": "Rose"}])[0]["kind"] == "leisure"


def test_degrees_are_metres_by_the_great_circle(tmp_path: Path):
    """Against the haversine distance, for places within 10 km: as close as the docstring says."""
    rng = np.random.default_rng(0)
    lon, lat = 8.0 + rng.uniform(-0.13, 0.13, 30), 50.0 + rng.uniform(-0.09, 0.09, 30)
    path = tmp_path / "p.csv"
    path.write_text("kind,lon,lat\n" + "".join(f"shop,{a},{b}\n" for a, b in zip(lon, lat, strict=True)))
    x, y = (np.array(read_places(path)[name]) for name in ("x", "y"))
    a, b = np.radians(lon), np.radians(lat)
    half = np.sin((b[:, None] - b) / 2) ** 2 + np.cos(b[:, None]) * np.cos(b) * np.sin((a[:, None] - a) / 2) ** 2
    great = 2 * 6_371_008.8 * np.arcsin(np.sqrt(half))
    flat = np.hypot(x[:, None] - x, y[:, None] - y)
    far = great > 0
    assert np.abs(flat[far] / great[far] - 1).max() < 0.002


def test_tables_in_text_and_parquet_are_alike(tmp_path: Path):
    text = "kind,x,y,name,capacity,opens,attraction,size\nhome,0,0,,,,,9\nshop,10.5,-3,Baker,7,08:00,2.5,9\n"
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "a.tsv").write_text(text.replace(",", "\t"), encoding="utf-8")
    table = pa.table({"kind": ["home", "shop"], "x": [0.0, 10.5], "y": [0.0, -3.0], "name": [None, "Baker"],
                      "capacity": [None, 7], "opens": [None, "08:00"], "attraction": [None, 2.5]})  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    expected = {"kind": ["home", "shop"], "x": [0.0, 10.5], "y": [0.0, -3.0], "name": [None, "Baker"],
                "capacity": [None, 7], "opens": [None, "08:00"], "attraction": [1.0, 2.5]}  # fmt: skip
    for name in ("a.csv", "a.tsv", "a.parquet"):
        assert read_places(tmp_path / name) == expected
    assert len(Places(**expected)) == 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "", r"a.txt: places are read from .geojson, .csv, .tsv or .parquet, not '.txt'"),
        ("b.csv", "kind,x\nhome,1\n", "b.csv, row 0: lon is None. Places have x and y"),
        ("b.csv", "kind,x,y\nhome,1,east\n", "b.csv, line 2: y is 'east', and has to be a number"),
        ("b.csv", "kind,lon,lat\nhome,1,91\n", "row 0: lat is 91.0"), ("b.csv", "x,y\n1,2\n", "row 0: kind is None"),
        ("b.csv", "kind,x,y\nhome,1\n", "line 2: has not as many values"),
        ("b.csv", "kind,x,y\n", "none of its 0 rows"),
        ("b.csv", "kind,x,y\nhome,1,nan\n", "row 0: y is nan"), ("b.json", "{", "b.json: is not JSON"),
        ("b.json", "[]", "FeatureCollection"), ("b.parquet", "text", "cannot be read as Parquet"),
        ("b.geojson", collection(feature("a", "LineString", [[0, 0], [1, 1]])), "row 0: has to be a feature whose"),
        ("b.geojson", collection({"type": "Feature", "geometry": None}), "row 0: has to be a feature whose"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, name: str, text: str, said: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=said):
        read_places(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path):
    for name in ("none.csv", "none.geojson", "none.parquet"):
        with pytest.raises(ScenarioError, match="cannot be read"):
            read_places(tmp_path / name)


SOCIETY = """
from pathlib import Path
import populace
from populace import Agent, Population, Society, World
from populace.env import City, Places

PLACES = populace.read_places(Path(__file__).parent / "{name}")


class Person(Agent):
    async def turn(self, ctx):
        ctx.act("city.go", kind="shop")


society = Society(name="read", agent=Person, population=lambda setup: Population.of_defaults(setup.agents),
                  world=lambda setup, people: World(City.of(setup, Places(**PLACES))), size=3, ticks=2)
"""


@pytest.mark.parametrize("name", ["p.csv", "p.geojson", "p.parquet"])
def test_a_run_knows_its_places_by_digest(tmp_path: Path, name: str):
    columns = {"kind": ["home", "shop"], "lon": [0.0, 0.01], "lat": [0.0, 0.0]}
    rows = list(zip(*columns.values(), strict=True))
    if name == "p.csv":
        (tmp_path / name).write_text("kind,lon,lat\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    elif name == "p.geojson":
        made = [feature(a, "Point", [b, c], kind=a) for a, b, c in rows]
        (tmp_path / name).write_text(collection(*made))
    else:
        pyarrow.parquet.write_table(pa.table(columns), tmp_path / name)
    (tmp_path / "read.py").write_text(SOCIETY.format(name=name))
    run = populace.run(str(tmp_path / "read.py"), model="scripted", out=tmp_path / "out", quiet=True)
    assert name in (tmp_path / "out" / "run.json").read_text()
    assert run.manifest["actions"]["applied"] > 0
