"""The small model on this machine: its weights, its server, the process that runs it."""
