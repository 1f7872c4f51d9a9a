"""How fast are XFA's kernels? On a GPU with nothing else on it:

    python tests/trials/xfa_kernel_trials.py

Prints, for bf16, what each kernel takes beside a copy of the bytes that it must read and write, then what an attention
takes at the shapes that XFormer-s has at 1024 pixels: started by Python, recorded and replayed, and with gradients.
Times are those of ``triton.testing``.
"""

import torch
from triton.testing import do_bench, do_bench_cudagraph

from attention_variants.kernels import xfa as kernels
from xbench.attention.spec import build_attention

DTYPE = torch.bfloat16
SHAPES = [(4, 4096, 144), (32, 4096, 144), (4, 1024, 192), (32, 1024, 192), (4, 256, 240), (32, 256, 240)]
ATTENTIONS = ["xfa:order=plain", "xfa:order=folded", "xfa:order=fused", "mhsa-sdpa", "separable", "identity"]
QKV_DIM, HEADS = 96, 4


def random(*shape: int, grad: bool = False) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=DTYPE, requires_grad=grad)


def print_kernels() -> None:
    """Against the bandwidth of a copy of 1 GiB, which reads and writes it."""
    source, target = torch.zeros(2, 2**30, dtype=torch.uint8, device="cuda")
    copied = 2 * 2**30 / do_bench_cudagraph(lambda: target.copy_(source)) * 1e3
    batch, tokens, channels = 96, 4096, 144  # 113 MB: more than the cache of an H100 holds
    x, weight, bias = random(batch, tokens, channels), random(QKV_DIM, channels), random(QKV_DIM)
    taps, columns = random(QKV_DIM, 3, 1), random(batch, QKV_DIM, 1)
    values, value_bias = random(batch, HEADS, channels), random(channels)
    print(f"{torch.cuda.get_device_name()}, bf16, {batch} sequences of {tokens} tokens, {channels} channels")
    print(f"A copy moves {copied / 1e12:.2f} TB/s.\n\n| kernel | µs | passes over x | share of the copy |")
    print("| --- | ---: | ---: | ---: |")
    for name, run, passes in (
        ("summed", lambda: kernels.summed(x, weight, bias, taps, HEADS), 1),
        ("read", lambda: kernels.read(x, weight, bias, columns, values, value_bias, HEADS), 2),
    ):
        with torch.no_grad():
            ms = do_bench_cudagraph(run)
        print(f"| {name} | {1e3 * ms:.1f} | {passes} × | {passes * x.nbytes / ms * 1e3 / copied:.0%} |")


def times(attention: torch.nn.Module, x: torch.Tensor) -> str:
    """µs of a forward started by Python, of one replayed, and of one with its gradients."""
    grid, weights, learnt = (int(x.shape[1] ** 0.5),) * 2, torch.randn_like(x), [x, *attention.parameters()]
    with torch.inference_mode():
        forward = do_bench(lambda: attention(x, grid)), do_bench_cudagraph(lambda: attention(x, grid))
    both = do_bench(lambda: torch.autograd.grad(attention(x, grid), learnt, weights))
    return " · ".join(f"{1e3 * ms:,.0f}" for ms in (*forward, both))


def print_attentions() -> None:
    print("\nµs, started by Python · replayed · forward and backward\n")
    print(f"| B, N, C | {' | '.join(ATTENTIONS)} |\n| --- |{' ---: |' * len(ATTENTIONS)}")
    for batch, tokens, channels in SHAPES:
        x, sizes = random(batch, tokens, channels, grad=True), {"qkv_dim": QKV_DIM, "num_heads": HEADS}
        attentions = [build_attention(name, embed_dim=channels, **sizes).to("cuda", DTYPE) for name in ATTENTIONS]
        print(f"| {batch}, {tokens}, {channels} | {' | '.join(times(attention, x) for attention in attentions)} |")


if __name__ == "__main__":
    print_kernels()
    print_attentions()
