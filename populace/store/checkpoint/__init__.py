"""How far a run came: generations of its state at ticks' edges, each whole or not there. Shell.

`generations` saves, finds the newest that is whole and drops old ones, and is what others use; `file` is one
generation on disk, whose unchanged blocks stay in the files of earlier ones; `reach` says which processes see the
folder, so that they write pieces of a generation themselves.
"""
