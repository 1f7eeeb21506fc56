"""Answers kept for other runs, and the layer that gives them."""
