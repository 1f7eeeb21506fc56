"""Typed calls on a small database that a run keeps, with policy checks, graded by the state they leave."""
