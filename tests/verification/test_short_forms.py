"""Every verification holds in its short form. `python -m verification` runs them at their size of record."""

import pytest

from verification.verdicts import Skipped, Verdict, load

CHECKS = load()


@pytest.mark.parametrize("title", CHECKS)
def test_what_theory_predicts_is_found(title):
    try:
        verdicts = CHECKS[title](False)
    except Skipped as skipped:
        pytest.skip(f"{title}: {skipped}")
    assert verdicts
    assert [one for one in verdicts if not one.holds] == []


def test_what_is_too_far_away_or_no_number_does_not_hold():
    assert not Verdict("share", 0.52, 0.5, 0.01, "").holds
    assert not Verdict("share", float("nan"), 0.5, 0.01, "").holds
    assert Verdict("share", 0.505, 0.5, 0.01, "").holds
