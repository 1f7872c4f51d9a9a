"""The page that is sent, from results."""
