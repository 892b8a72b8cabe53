"""The mixture study."""
