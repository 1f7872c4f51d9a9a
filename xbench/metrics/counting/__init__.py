"""What a model costs on paper: parameters, multiply–accumulates, traffic."""
