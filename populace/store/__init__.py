"""A run's folder: what it is, what the model said, how far it came, its tables; here and in an object store."""
