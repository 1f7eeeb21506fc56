"""The libraries of statistics, loaded when they are first used."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from populace.core.errors import SettingsError


def library(name: str) -> Any:
    """The module `name` of scipy or statsmodels. Raises SettingsError, naming the extra, where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # statsmodels 0.14 uses what pandas 3 has deprecated
            return importlib.import_module(name)
    except ImportError:
        raise SettingsError(f"experiments need {name.split('.')[0]}: pip install 'populace[experiments]'") from None
