"""The language-model study."""
