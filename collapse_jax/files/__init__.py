"""Files: what anybody's may hold, read with care; what is ours, written whole or not at all."""
