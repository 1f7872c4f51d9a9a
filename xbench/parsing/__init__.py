"""What a user typed, checked."""
