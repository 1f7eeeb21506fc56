"""Posts and who sees them."""
