"""What an attention can do: small models trained on made-up tasks that need one."""
