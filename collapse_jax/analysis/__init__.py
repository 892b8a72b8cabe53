"""What is made of results: figures, claims, verdicts, answers."""
