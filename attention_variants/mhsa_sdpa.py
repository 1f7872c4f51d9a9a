"""Multi-head softmax self-attention through torch's fused kernels: `mhsa` without the N × N scores in memory.

Paper: "FlashAttention", Dao et al., arXiv 2205.14135 (the kernels that ``scaled_dot_product_attention`` chooses from).
Cost in N tokens: O(N² · qkv_dim) multiply–accumulates, O(N · qkv_dim) memory where a fused kernel applies.
"""

from torch import Tensor
from torch.nn import functional as F

from attention_variants.mhsa import MultiHeadSelfAttention
from xbench.attention import register_attention


@register_attention("mhsa-sdpa", paper="arXiv 2205.14135", cost="O(N²)")
class FusedMultiHeadSelfAttention(MultiHeadSelfAttention):
    """Softmax self-attention, torch's fused kernel."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q kᵀ / √D) v, all [B, H, N, D]."""
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)
