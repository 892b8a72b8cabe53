"""Metrics that do not belong to one model."""
