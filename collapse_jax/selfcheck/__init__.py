"""What an installation says of itself: laws obeyed, and speed."""
