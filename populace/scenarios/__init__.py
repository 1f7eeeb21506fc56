"""Societies that ship with populace, a file each."""
