"""What records say; draws nothing."""
