"""Peak memory equals the count by hand, to the byte, and repeats."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xbench.attention.spec import build_attention
from xbench.metrics.memory import largest_batch, peak_memory, peak_of, read_cuda_stats, resident_bytes
from xbench.models.xformer import XFormer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def activations(forward):
    return peak_memory(forward, nn.Identity(), torch.empty(0), CPU).activations


def explicit(q, k, v):
    scores = q @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


def test_explicit_attention_by_hand():
    q = torch.randn(1, 4, 4096, 36)
    scores = 4 * 4096 * 4096 * 4  # bytes, and the softmax has as many while the scores still live
    output = 4 * 4096 * 36 * 4
    assert activations(lambda: explicit(q, q, q)) == 2 * scores + output == 539_230_208


def test_scratch_of_fused_attention_is_seen():
    q = torch.randn(1, 4, 4096, 36)
    fused = activations(lambda: F.scaled_dot_product_attention(q, q, q))
    output, logsumexp = 4 * 4096 * 36 * 4, 4 * 4096 * 4
    # Each thread keeps a block of 256 queries by 512 keys, its row sums and maxima, and its output: 563,200 bytes.
    scratch = fused - output - logsumexp
    assert 0 < scratch <= torch.get_num_threads() * 2**20


def test_scratch_of_a_convolution_is_seen():
    conv = nn.Conv2d(16, 64, 3, padding=1)
    x = torch.randn(1, 16, 64, 64)
    output = 64 * 64 * 64 * 4
    # oneDNN writes its own layout first where it has one, and the plain output after it.
    assert output <= activations(lambda: conv(x)) <= 3 * output


def attention_peak(attn, side):
    module = build_attention(attn, embed_dim=96, qkv_dim=96, num_heads=4)
    x = torch.randn(1, side * side, 96)
    return activations(lambda: module(x, (side, side)))


def test_memory_in_the_number_of_tokens():
    peak = {attn: [attention_peak(attn, side) for side in (32, 64)] for attn in ("mhsa", "mhsa-sdpa", "xfa")}
    growth = {attn: large / small for attn, (small, large) in peak.items()}
    assert growth["mhsa"] > 14  # four times the tokens: sixteen times the scores
    assert growth["mhsa-sdpa"] < 5
    assert growth["xfa"] < 5
    assert peak["mhsa"][1] > 10 * peak["mhsa-sdpa"][1]
    assert peak["mhsa"][1] > 2 * 4 * 4096**2 * 4


SMALL_MODEL = """
import torch
from xbench.metrics.memory import peak_memory
from xbench.models.xformer import XFormer
torch.set_num_threads({threads})
model, image = XFormer("mhsa", size="xxs").eval(), torch.rand(1, 3, 96, 128)
with torch.inference_mode():
    print(peak_memory(lambda: model(image), model, image, torch.device("cpu"), warm=True))
"""


@pytest.mark.process
def test_first_later_and_other_process_agree():
    model, image = XFormer("mhsa", size="xxs").eval(), torch.rand(1, 3, 96, 128)
    seen = {peak_memory(lambda: model(image), model, image, CPU, warm=warm) for warm in (True, False, True)}
    assert len(seen) == 1

    # `warm` is claimed there and is not so: that process measures its first forward.
    script = SMALL_MODEL.format(threads=torch.get_num_threads())
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(seen.pop())
    assert "profiler_start" not in other.stderr


def test_total_is_resident_and_activations():
    model = nn.Linear(100, 50)
    image = torch.randn(1, 100)
    peak = peak_memory(lambda: model(image), model, image, CPU)
    assert peak.resident == 4 * (100 * 50 + 50 + 100)
    assert peak.activations == 4 * 50
    assert peak.total == peak.resident + peak.activations


def test_a_shared_storage_is_resident_once():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.view(8, 8))
    assert resident_bytes(model, torch.empty(2, 8)) == 4 * (64 + 16)


def test_releases_of_older_memory_lower_nothing():
    assert peak_of([(1, 100), (7, -1000), (2, 50), (1, -100), (3, 60)]) == 150
    older = [torch.empty(1000, 1000), torch.empty(1000, 1000)]
    assert activations(lambda: [older.pop(), torch.empty(500, 500)][1]) == 4 * 500 * 500


def test_an_address_left_from_an_earlier_profile():
    # An output outlives its profile; its address may come back in memory that the next profile sees released.
    blocks = []
    for _ in range(3):
        blocks.append(torch.empty(300, 300))
        assert activations(lambda: [blocks.pop() if blocks else None, torch.empty(500, 500)][1]) == 4 * 500 * 500


def test_another_device_is_refused():
    with pytest.raises(ValueError, match="meta"):
        peak_memory(lambda: torch.empty(1), nn.Identity(), torch.empty(0), torch.device("meta"))


def cuda_stats(requested, allocated, reserved):
    kinds = {"requested_bytes": requested, "allocated_bytes": allocated, "reserved_bytes": reserved}
    return {
        f"{kind}.all.{when}": value
        for kind, pair in kinds.items()
        for when, value in zip(("current", "peak"), pair, strict=True)
    }


def test_cuda_gates_on_requested_bytes():
    before, after = (
        cuda_stats((1000, 1000), (1024, 1024), (2048, 2048)),
        cuda_stats((1000, 5000), (1024, 5120), (2048, 8192)),
    )
    peak = read_cuda_stats(before, after, resident=900)
    assert (peak.total, peak.activations, peak.requested, peak.allocated, peak.reserved) == (
        5000,
        4000,
        5000,
        5120,
        8192,
    )


def test_cuda_without_requested_bytes_falls_back_to_allocated():
    peak = read_cuda_stats(
        cuda_stats((0, 0), (1024, 1024), (2048, 2048)), cuda_stats((0, 0), (1024, 5120), (2048, 8192)), 900
    )
    assert (peak.total, peak.requested) == (5120, None)


def test_cuda_synchronises_around_a_reset_peak(monkeypatch):
    steps = []
    stats = cuda_stats((1, 1), (1, 1), (1, 1))
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: steps.append(name))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: steps.append("stats") or stats)
    peak_memory(lambda: steps.append("forward"), nn.Identity(), torch.empty(0), torch.device("cuda"), warm=True)
    assert steps == ["synchronize", "reset_peak_memory_stats", "stats", "forward", "synchronize", "stats"]


@pytest.mark.parametrize(
    ("grows", "calls"),
    [
        (lambda batch: 100 + 10 * batch, 3),
        (lambda batch: 3000 + 7 * batch, 3),
        (lambda batch: 100 + 10 * batch + 20 * min(batch, 4), 5),  # scratch per thread, up to four threads
        (lambda batch: 100 + 10 * batch + (300 if batch > 20 else 0), 5),  # another kernel from 21 on
    ],
)
@pytest.mark.parametrize("start", [1, 8])
def test_the_largest_batch_that_fits(grows, calls, start):
    asked = []

    def peak(batch):
        asked.append(batch)
        return grows(batch)

    batch, used = largest_batch(peak, 5000, start)
    assert used == grows(batch) <= 5000 < grows(batch + 1)
    assert len(asked) == len(set(asked)) <= calls


def test_a_batch_that_cannot_be_allocated_is_too_many():
    batch, used = largest_batch(lambda batch: 100 * batch if batch <= 37 else math.inf, 5000)
    assert (batch, used) == (37, 3700)


def test_where_one_image_is_too_many():
    assert largest_batch(lambda batch: 100 * batch, 99) == (0, 100)
    assert largest_batch(lambda batch: 100 * batch, 299, start=64) == (2, 200)
