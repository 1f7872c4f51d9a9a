"""What was measured, durably, and on what."""
