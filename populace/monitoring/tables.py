"""Where tables were read before. For one release: it warns, and hands on what `populace.store.tables.tables` has."""

import warnings

from populace.store.tables.tables import outcome_series, panel, read_table, recorded_prompt

__all__ = ["outcome_series", "panel", "read_table", "recorded_prompt"]

warnings.warn(
    "populace.monitoring.tables goes with the next release: use populace.panel, and for whole tables "
    "populace.store.tables.tables.read_table.",
    DeprecationWarning,
    stacklevel=2,
)
