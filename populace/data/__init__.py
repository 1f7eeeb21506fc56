"""Loads society files, and reads the files and tables that they name; `env` and `agents` take columns. Shell.

`societies` loads a society from a file, a module or those that ship, and so runs its author's code; whether a run of
somebody else may be loaded is for its caller to ask (`populace.store.trust`). `edge_lists` reads a network's ties from
a file, `places` those of a city.
"""
