"""Distributions and laws against theory and rival programs: `python -m verification`, from the repository's root."""
