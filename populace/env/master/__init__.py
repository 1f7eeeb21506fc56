"""A game master: free text mapped to verbs with preconditions and effects, on a stage where a thing is in one place."""
