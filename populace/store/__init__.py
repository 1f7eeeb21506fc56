"""A run's folder: what the run is, what the model said, how far it came, its tables; here and in an object store.

`folder` opens it: `run.json`, `journal/`, `checkpoints/`; `tables` are Parquet files beside them. `manifest` says what
a run came to, `lock` keeps it to one process, `place` says where a run may write, `trust` whose code may run. All
files are made through `storage`. What is half written is never taken for whole: reading drops it or raises, naming the
file. Shell.
"""
