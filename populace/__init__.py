"""populace: societies of LLM-driven agents that can be forked, replayed and trusted."""
