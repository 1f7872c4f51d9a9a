"""Multi-head softmax self-attention through torch's fused kernels: `mhsa` without the N × N scores in memory.

Paper: "FlashAttention", Dao et al., arXiv 2205.14135 (the kernels that ``scaled_dot_product_attention`` chooses from).
Cost in N tokens: O(N² · qkv_dim) multiply–accumulates, O(N · qkv_dim) memory where a fused kernel applies.

Which kernel torch takes depends on device, dtype and widths. ``backend`` asks for one of them, so that a comparison can
say what it beat; "math" is torch's own form with the scores in memory. A CPU has "math" and "flash". Asking for one
takes some 10 µs a call outside compiled code, which a comparison of short calls should know.
"""

from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from attention_variants.mhsa import MultiHeadSelfAttention
from xbench.attention import register_attention
from xbench.errors import UserError

BACKENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


@register_attention("mhsa-sdpa", paper="arXiv 2205.14135", cost="O(N²)", memory="O(N)", computes="mhsa")
class FusedMultiHeadSelfAttention(MultiHeadSelfAttention):
    """Softmax self-attention, torch's fused kernel.

    Args:
        backend: "auto" for torch's choice, or the kernel to use: "math", "flash", "efficient" or "cudnn".
    """

    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int, backend: str = "auto"):
        super().__init__(embed_dim=embed_dim, qkv_dim=qkv_dim, num_heads=num_heads)
        if backend != "auto" and backend not in BACKENDS:
            raise ValueError(f"backend must be auto, math, flash, efficient or cudnn, not '{backend}'")
        self.backend = backend

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q kᵀ / √D) v, all [B, H, N, D].

        Raises:
            UserError: the kernel asked for does not exist on this device, or not for this dtype and these widths.
        """
        # No context manager here: code that is compiled or exported need not carry it along.
        if self.backend == "auto":
            return F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        try:
            with sdpa_kernel(BACKENDS[self.backend]):
                return F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        except RuntimeError as error:
            # torch says "No viable backend …" on a CPU and "No available kernel …" on CUDA.
            if not str(error).startswith("No "):
                raise
            kind = f"{q.device.type} in {str(q.dtype).removeprefix('torch.')} with head_dim {q.shape[-1]}"
            raise UserError(
                f"torch has no '{self.backend}' kernel for attention on {kind}; use backend=auto."
            ) from error
