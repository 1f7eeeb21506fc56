"""What a person sees of a run: metrics, progress, tables. Every module here is a shell."""
