"""The web study."""
