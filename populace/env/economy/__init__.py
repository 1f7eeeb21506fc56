"""An economy of households and firms on accounts that lose no cent: see `part.Economy`."""

from populace.env.economy.accounts import Accounts, BooksDoNotBalance, Savings
from populace.env.economy.part import Economy
from populace.env.economy.statistics import SERIES, gini
from populace.env.economy.taxes import US_2019, Schedule, flat

__all__ = ["SERIES", "US_2019", "Accounts", "BooksDoNotBalance", "Economy", "Savings", "Schedule", "flat", "gini"]
