"""A study that its author sealed, and whose folder is then gone, as on another machine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.sealed import Study, author_runs

from populace.experiments.sealing import seal


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    place = tmp_path_factory.mktemp("sealed")
    with pytest.MonkeyPatch.context() as patch:
        folder = author_runs(place / "author", patch)
        when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        sealed = seal(folder, place / "study.zip", author="Ada", sealed=when)
        assert seal(folder, place / "again.zip", author="Ada", sealed=when) == sealed
    assert (place / "again.zip").read_bytes() == (place / "study.zip").read_bytes()
    (place / "author").rename(place / "gone")
    return Study(place / "gone", place / "gone" / "out", place / "study.zip", sealed)
