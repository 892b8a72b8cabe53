"""Numerical methods that know nothing of chains."""
