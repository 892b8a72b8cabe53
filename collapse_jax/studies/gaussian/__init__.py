"""The Gaussian study."""
