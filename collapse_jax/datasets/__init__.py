"""Real and artificial data."""
