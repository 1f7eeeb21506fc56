"""The run's folder in an object store; `objects` is the only importer of fsspec."""
