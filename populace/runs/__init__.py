"""What is done with runs, as functions: resume, replay, fork, diff, estimate, costs."""
