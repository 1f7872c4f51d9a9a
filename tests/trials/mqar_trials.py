"""Multi-query associative recall as it was published, at its smallest setting: who solves it, and in which order?

Zoology (Arora et al., arXiv 2312.04927, Figure 2; github.com/HazyResearch/zoology): sequences of 64 tokens out of
8,192, 4 keys with 4 values at the start, each key once more behind them; two layers of width 64; the best of several
learning rates. Published: attention solves it, and what does not look every token up falls behind, the more so the more
pairs there are. Here the attentions are not causal, which lets nothing be read off: where a key comes again, its value
does not stand behind it. Keys and values are tokens of their own, so one layer has to bind neighbours and another to
look up; positions are learned, as published.

    python tests/trials/mqar_trials.py [STEPS] [ATTENTION …]
"""

import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xbench.models.layers import XFLayer

VOCABULARY, TOKENS, PAIRS, WIDTH, BATCH = 8192, 64, 4, 64, 64
RATES = (1e-3, 3e-3)
POWER = 0.01  # of the law by which gaps between a key and its question are drawn, as published


def draw(sequences: int, chance: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [B, 64], the places of the questions [B, 4], and their answers [B, 4]."""
    half, told = VOCABULARY // 2, 2 * PAIRS
    # The first of an order by chance: as many that all differ.
    keys = 1 + chance.random((sequences, half - 1)).argpartition(PAIRS, axis=1)[:, :PAIRS]
    values = half + chance.random((sequences, half)).argpartition(PAIRS, axis=1)[:, :PAIRS]
    room = (TOKENS - told) // 2
    weight = np.arange(1, room + 1) ** (POWER - 1)
    gaps = np.stack([chance.choice(room, PAIRS, False, weight / weight.sum()) for _ in range(sequences)])
    tokens = chance.integers(VOCABULARY, size=(sequences, TOKENS))
    tokens[:, 0:told:2], tokens[:, 1:told:2] = keys, values
    asked = told + 2 * gaps
    np.put_along_axis(tokens, asked, keys, axis=1)
    return torch.from_numpy(tokens), torch.from_numpy(asked), torch.from_numpy(values)


class Layers(nn.Module):
    """Two layers over embedded tokens and positions; scores of the vocabulary at the places asked, [B, 4, 8192]."""

    def __init__(self, attn: str):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
        shape = {"attn": attn, "qkv_dim": WIDTH, "num_heads": 1, "mlp_ratio": 4.0}
        self.layers = nn.ModuleList(XFLayer(WIDTH, **shape) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)
        self.head.weight = self.token.weight  # tied, as published

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        x = self.token(tokens) + self.position.weight
        for layer in self.layers:
            x = layer(x, (8, 8))
        return self.head(self.norm(x.gather(1, asked[..., None].expand(-1, -1, WIDTH))))


def trained(attn: str, rate: float, steps: int, seed: int = 0) -> tuple[float, list[str]]:
    """Right answers in % of 1,000 new sequences, and the loss on the way."""
    torch.manual_seed(seed)
    model, chance = Layers(attn), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    losses = []
    for step in range(steps):
        tokens, asked, answers = draw(BATCH, chance)
        loss = F.cross_entropy(model(tokens, asked).flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 6) == 0:
            losses.append(f"{loss.item():.2f}")
    model.eval()
    tokens, asked, answers = draw(1000, np.random.default_rng(10_000 + seed))
    with torch.no_grad():
        return 100 * float((model(tokens, asked).argmax(-1) == answers).double().mean()), losses


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    for attn in sys.argv[2:] or ["mhsa", "linear", "relu-linear", "performer", "xfa", "global-average", "identity"]:
        for rate in RATES:
            began = time.monotonic()
            right, losses = trained(attn, rate, steps)
            took = time.monotonic() - began
            print(f"{attn:16} rate {rate:g}: {right:5.1f} % right, loss {' '.join(losses)}, {took:.0f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
