"""Makes cps_tax_units.parquet from the sdist of taxcalc: `python cps_from_taxcalc.py taxcalc-6.8.0.tar.gz`."""

import sys
from pathlib import Path

import numpy as np

from populace.core.draws import column
from populace.data.public_samples import cps

HOUSEHOLDS = 1_500

every = cps(Path(sys.argv[1]))
there = np.unique(every["household"])
mark = column(1996, 0, "households", np.arange(len(there)))
chosen = np.sort(there[np.argsort(mark, kind="stable")[:HOUSEHOLDS]])
frame = every[every["household"].isin(chosen)].reset_index(drop=True)
frame["household"] = np.searchsorted(chosen, frame["household"])
frame["weight"] = frame["weight"] * (every["weight"].sum() / frame["weight"].sum())
whole = [name for name in frame if name != "weight"]
frame[whole] = frame[whole].astype(np.int32)
frame = frame.sort_values(["household", "age"], kind="stable")
frame.to_parquet(Path(__file__).parent / "cps_tax_units.parquet", index=False, compression="zstd")
