"""Records that somebody else made: reading them, judging what moved, and a page."""
