"""What lies on disk: read whole or refused, written whole or not at all. Knows no figure."""
