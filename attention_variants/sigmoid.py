"""Sigmoid attention: each score is squashed on its own, so that no token competes with another for weight.

Paper: "Theory, Analysis, and Best Practices for Sigmoid Self-Attention", Ramapuram et al., arXiv 2409.04431.
Cost in N tokens: O(N² · qkv_dim) multiply–accumulates and H · N² stored scores per sequence.

    out = σ(q kᵀ / √D − ln N) v, per head

The offset −ln N is the paper's: at the start a row of weights then sums to about 1, as softmax does, at every N. In the
authors' code it is a constant, set for the N of training; here it follows N. Their norms of q and k, an option, are
left out.
"""

import math

from torch import Tensor

from attention_variants.mhsa import MultiHeadSelfAttention
from xbench.attention import register_attention


@register_attention("sigmoid", paper="arXiv 2409.04431", cost="O(N²)")
class SigmoidAttention(MultiHeadSelfAttention):
    """Sigmoid self-attention, scores written out."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """σ(q kᵀ / √D − ln N) v, all [B, H, N, D]."""
        scores = (q * self.scale) @ k.transpose(-2, -1)  # [B, H, N, N]
        return (scores - math.log(k.shape[-2])).sigmoid() @ v
