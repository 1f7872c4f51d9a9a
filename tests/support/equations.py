"""Each mechanism of the zoo as its equation, for one sequence x [N, C].

Every loop is over tokens; nothing is re-associated. ``attn`` lends its weights and nothing else.
"""

import math

import torch
from torch.nn import functional as F


def heads(attn, *tensors):
    """For each head the columns [N, D] of each tensor [N, H · D] that belong to it."""
    return zip(*(tensor.chunk(attn.num_heads, dim=-1) for tensor in tensors), strict=True)


def weighted_mean(q, k, v, similarity, epsilon=0.0):
    """Σ_j s(q_i, k_j) v_j / (Σ_j s(q_i, k_j) + ε), with every pair of tokens written out."""
    rows = []
    for q_i in q:
        scores = torch.stack([similarity(q_i, k_j) for k_j in k])
        rows.append(sum(s * v_j for s, v_j in zip(scores, v, strict=True)) / (scores.sum() + epsilon))
    return torch.stack(rows)


def places(grid):
    return [(row, col) for row in range(grid[0]) for col in range(grid[1])]


def depthwise(conv, x, grid):
    """A depth-wise convolution of [N, D] on the grid: tap by tap, zero outside."""
    side = conv.kernel_size[0]
    rows = []
    for row, col in places(grid):
        total = conv.bias
        for i in range(side):
            for j in range(side):
                r, c = row + i - side // 2, col + j - side // 2
                if 0 <= r < grid[0] and 0 <= c < grid[1]:
                    total = total + conv.weight[:, 0, i, j] * x[r * grid[1] + c]
        rows.append(total)
    return torch.stack(rows)


def scaled_exp(q, k):
    return (q @ k / math.sqrt(len(q))).exp()


def linear(attn, x, grid):
    def similarity(q, k):
        return (F.elu(q) + 1) @ (F.elu(k) + 1)

    parts = heads(attn, *attn.qkv(x).chunk(3, dim=-1))
    return attn.proj(torch.cat([weighted_mean(q, k, v, similarity, 1e-6) for q, k, v in parts], dim=-1))


def relu_linear(attn, x, grid):
    def similarity(q, k):
        return F.relu(q) @ F.relu(k)

    parts = [head.chunk(3, dim=-1) for head in attn.qkv(x).chunk(attn.num_heads, dim=-1)]
    return attn.proj(torch.cat([weighted_mean(q, k, v, similarity, 1e-15) for q, k, v in parts], dim=-1))


def efficient(attn, x, grid):
    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        over_tokens = [k[:, d].exp() / k[:, d].exp().sum() for d in range(k.shape[1])]
        context = [sum(w_n * v_n for w_n, v_n in zip(w, v, strict=True)) for w in over_tokens]
        rows = [sum(p * c for p, c in zip(q_i.exp() / q_i.exp().sum(), context, strict=True)) for q_i in q]
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def focused(attn, x, grid):
    """The power first and the length after it, as the paper writes them."""

    def feature_map(row):
        row = (F.relu(row) + 1e-6) / F.softplus(attn.scale)
        power = row**attn.focus
        return row.square().sum().sqrt() * power / power.square().sum().sqrt()

    q, k, v = attn.qkv(x).chunk(3, dim=-1)
    q, k = (torch.stack([feature_map(row) for row in t]) for t in (q, k))
    outputs = [
        weighted_mean(q, k, v, torch.dot, len(x) * 1e-6) + depthwise(attn.conv, v, grid)
        for q, k, v in heads(attn, q, k, v)
    ]
    return attn.proj(torch.cat(outputs, dim=-1))


def stretch(values, side):
    """Bilinear interpolation of 7 values to ``side`` along the first axis, half-pixel centres, clamped at the ends."""
    rows = []
    for i in range(side):
        at = max((i + 0.5) * 7 / side - 0.5, 0)
        low = min(int(at), 6)
        high = min(low + 1, 6)
        rows.append(values[low] + (at - low) * (values[high] - values[low]))
    return torch.stack(rows)


def agent(attn, x, grid):
    q_all, k_all, v_all = attn.qkv(x).chunk(3, dim=-1)
    cells = []
    for i, j in places((attn.pool, attn.pool)):
        members = [
            q_all[row * grid[1] + col]
            for row, col in places(grid)
            if math.floor(i * grid[0] / attn.pool) <= row < math.ceil((i + 1) * grid[0] / attn.pool)
            and math.floor(j * grid[1] / attn.pool) <= col < math.ceil((j + 1) * grid[1] / attn.pool)
        ]
        cells.append(sum(members) / len(members))
    outputs = []
    for h, (q, k, v, agents) in enumerate(heads(attn, q_all, k_all, v_all, torch.stack(cells))):
        key_bias, query_bias = (
            stretch(stretch(bias[h].permute(1, 2, 0), grid[0]).transpose(0, 1), grid[1]).transpose(0, 1).flatten(0, 1)
            for bias in (attn.key_bias, attn.query_bias)  # [N, agents]
        )
        collected = []
        for a, agent_row in enumerate(agents):
            scores = torch.stack([scaled_exp(agent_row, k[n]) * key_bias[n, a].exp() for n in range(len(k))])
            collected.append(sum(s * row for s, row in zip(scores / scores.sum(), v, strict=True)))
        rows = []
        for n, q_n in enumerate(q):
            scores = torch.stack([scaled_exp(q_n, agents[a]) * query_bias[n, a].exp() for a in range(len(agents))])
            rows.append(sum(s * row for s, row in zip(scores / scores.sum(), collected, strict=True)))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1) + depthwise(attn.conv, v_all, grid))


def hydra(attn, x, grid):
    q, k, v = attn.qkv(x).chunk(3, dim=-1)
    context = sum(k_m / k_m.square().sum().sqrt() * v_m for k_m, v_m in zip(k, v, strict=True))
    return attn.proj(torch.stack([q_n / q_n.square().sum().sqrt() * context for q_n in q]))


def window(attn, x, grid):
    """Tokens meet where their places, moved by the shift, fall into the same window; there is no padding here."""
    q_all, k_all, v_all = attn.qkv(x).chunk(3, dim=-1)
    moves = [attn.shift if side > attn.window else 0 for side in grid]
    own = [
        tuple((place - move) // min(attn.window, side) for place, move, side in zip(at, moves, grid, strict=True))
        for at in places(grid)
    ]
    table = attn.bias_table.view(2 * attn.window - 1, 2 * attn.window - 1, -1)
    outputs = []
    for h, (q, k, v) in enumerate(heads(attn, q_all, k_all, v_all)):
        rows = []
        for n, (r_n, c_n) in enumerate(places(grid)):
            scores = [
                (m, scaled_exp(q[n], k[m]) * table[r_n - r + attn.window - 1, c_n - c + attn.window - 1, h].exp())
                for m, (r, c) in enumerate(places(grid))
                if own[m] == own[n]
            ]
            rows.append(sum(s * v[m] for m, s in scores) / sum(s for _, s in scores))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def performer(attn, x, grid):
    """The largest projection leaves the exponent, of a query or of all keys, and then every feature is raised."""
    dim = attn.proj.in_features // attn.num_heads
    directions = attn.directions * dim**0.25

    def features(row, largest):
        exponents = [w @ row - row @ row / 2 - largest for w in directions]
        return torch.stack([exponent.exp() + 1e-6 for exponent in exponents]) / math.sqrt(len(directions))

    def largest(rows):
        return torch.stack([w @ row for w in directions for row in rows]).amax()

    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        q, k = q / dim**0.25, k / dim**0.25
        q = torch.stack([features(row, largest([row])) for row in q])
        k = torch.stack([features(row, largest(k)) for row in k])
        outputs.append(weighted_mean(q, k, v, torch.dot))
    return attn.proj(torch.cat(outputs, dim=-1))


def external(attn, x, grid):
    keys, values = attn.keys.weight, attn.values.weight.T  # [memory, D]
    outputs = []
    for (q,) in heads(attn, attn.q(x)):
        columns = [torch.stack([(q_n @ key).exp() for q_n in q]) for key in keys]
        columns = [column / column.sum() for column in columns]
        rows = []
        for n in range(len(q)):
            total = sum(column[n] for column in columns) + 1e-9
            rows.append(sum(column[n] / total * value for column, value in zip(columns, values, strict=True)))
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def linformer(attn, x, grid):
    for_keys, for_values = (
        torch.stack([sum(row[n] * x[n] for n in range(len(x))) for row in shorten]) for shorten in attn.shorten
    )
    parts = heads(attn, attn.q(x), attn.k(for_keys), attn.v(for_values))
    return attn.proj(torch.cat([weighted_mean(q, k, v, scaled_exp) for q, k, v in parts], dim=-1))


def sigmoid(attn, x, grid):
    outputs = []
    for q, k, v in heads(attn, *attn.qkv(x).chunk(3, dim=-1)):
        rows = [sum(v_j / (1 + len(k) / scaled_exp(q_i, k_j)) for k_j, v_j in zip(k, v, strict=True)) for q_i in q]
        outputs.append(torch.stack(rows))
    return attn.proj(torch.cat(outputs, dim=-1))


def mlla(attn, x, grid):
    """The rotations as complex numbers, as in the authors' code."""
    v_all = F.silu(depthwise(attn.conv, attn.value(x), grid))
    q_all, k_all = (F.elu(attn.qk(v_all)) + 1).chunk(2, dim=-1)
    quarter = q_all.shape[-1] // 4
    frequencies = [10_000 ** (-i / quarter) for i in range(quarter)]
    angles = torch.tensor([[place * f for place in at for f in frequencies] for at in places(grid)])

    def turned(t):
        pairs = torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    outputs = []
    for q, k, v, q_turned, k_turned in heads(attn, q_all, k_all, v_all, turned(q_all), turned(k_all)):
        rows = []
        for q_i, turned_i in zip(q, q_turned, strict=True):
            total = sum(q_i @ k_j for k_j in k) + len(k) * 1e-6
            rows.append(sum(turned_i @ turned_j * v_j for turned_j, v_j in zip(k_turned, v, strict=True)) / total)
        outputs.append(torch.stack(rows))
    return attn.proj((torch.cat(outputs, dim=-1) + depthwise(attn.lepe, v_all, grid)) * F.silu(attn.gate(x)))
