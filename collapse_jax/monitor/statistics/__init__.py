"""What is measured of a generation: statistics of numbers, categories and texts, each for many choices of rows at once."""
