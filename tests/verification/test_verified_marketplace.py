"""Customers who compare all proposals are not those who take the first good enough: a negative control."""

from verification.marketplace import satisficing


def test_customers_who_compare_all_do_not_hold():
    assert not any(one.holds for one in satisficing(False, aspiration=9.0, patience=2))
