"""Makes bfi_covariance.csv: `python bfi_covariance.py bfi.parquet`, of `python -m populace.data.public_samples bfi`."""

import sys
from pathlib import Path

import pandas as pd

frame = pd.read_parquet(sys.argv[1]).iloc[:, :25]
frame.cov().round(6).to_csv(Path(__file__).parent / "bfi_covariance.csv")
