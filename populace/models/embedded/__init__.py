"""The small model on this machine: its weights, its server, the process that runs it. Shell.

`host` starts what a run needs once for all its shards, and is what other rooms use; `process` is the parent's side of
the child that serves the model on loopback, `server` the child itself (the only importer of xllamacpp), and `weights`
finds or fetches the model's file.
"""
