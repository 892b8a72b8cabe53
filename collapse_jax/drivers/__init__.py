"""What runs chains: compiled or from the host, for many seeds, over grids; and what comes of it."""
