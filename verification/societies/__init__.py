"""Societies of pure rules from the literature, each for a check of the file above that bears its name."""
