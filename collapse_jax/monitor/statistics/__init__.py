"""What is measured of a generation: statistics of numbers, categories and texts, for many choices of rows at once."""
