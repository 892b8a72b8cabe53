"""Generations in files, read one by one and told to a monitor, and what it says: in words, files and a page."""
