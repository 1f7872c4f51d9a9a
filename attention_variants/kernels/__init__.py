"""What attentions run on a GPU in place of torch's operations: kernels in Triton, one file for each attention."""
