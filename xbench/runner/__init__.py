"""The only loop over cases."""
