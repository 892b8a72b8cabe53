"""The protocol: models, regimes, metrics, data, and the chain of generations they make."""
