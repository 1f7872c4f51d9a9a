"""Finds and builds one attention; never measures. The contract that every attention keeps:

    __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, <own options with defaults>)
    forward(self, x, grid) -> [B, N, C]      x: [B, N, C]; grid = (rows, columns) of tokens, rows · columns = N
    macs(self, grid) -> int                  multiply–accumulates of one sequence, in closed form
    init_weights(self)                       optional; without it the skeleton draws the linear layers' weights

B counts sequences: with patch size p the skeleton forms one sequence per position inside the patch, p² per image.
Classes that were not written for this contract are brought onto it by ``adapter``.
"""

from xbench.attention.registry import register_attention

__all__ = ["register_attention"]
