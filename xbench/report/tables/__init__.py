"""Tables, from results."""
