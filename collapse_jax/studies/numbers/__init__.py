"""Numbers of one's own, refitted to what the fit draws."""
