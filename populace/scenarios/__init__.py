"""Societies that ship with populace, a file each; `populace scenarios` lists them.

A file here uses `populace` and `populace.env`, as a user's own would, and data that ships (`_data`). Its import path
stands in the `run.json` of runs and stays.
"""
