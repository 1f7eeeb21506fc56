"""The environment service and its parts. Pure: state is NumPy columns, and nothing here does I/O."""
