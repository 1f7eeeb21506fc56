"""What is done with runs, as functions: run, resume, replay, fork, diff, estimate, costs.

The command line calls these and adds nothing to them but what is seen. `courses` says what a run that goes on from a
folder begins with; `conduct` plays any run to its end, under signals; `place` holds a run's folder for one process.
`run`, `resume`, `replay`, `fork`, `diff`, `estimate` and `costs` are for others to use.
"""
