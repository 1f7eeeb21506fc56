"""The run's folder in an object store. Shell.

A run writes on this machine first; `mirror` uploads its folder at ticks' edges and fetches it to go on elsewhere.
`objects` lists, puts, fetches and verifies objects, and is the only importer of fsspec.
"""
