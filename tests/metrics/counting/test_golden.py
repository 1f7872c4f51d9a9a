"""Parameters and MACs of timm models of many families, each confirmed by something outside our count.

``golden_counts.csv`` says where each row comes from. "fvcore-unfused": fvcore's ``FlopCountAnalysis`` with its rules
for products of matrices and convolutions alone, of the model with ``timm.layers.set_fused_attn(False)``. "published":
timm's own results/benchmark-infer-amp-nchw-pt291-cu128-4090.csv of 2026-01-06, at the same size; its figures are
rounded, and include fvcore's estimates for norms and pooling. Where timm measured a model with its branches folded,
only the parameters are published for the model as it is built, in results/results-imagenet.csv.
"""

import csv
from pathlib import Path

import pytest
import timm
import torch

from xbench.metrics.counting.cost import count_cost

ROWS = list(csv.DictReader((Path(__file__).parent / "golden_counts.csv").open(encoding="utf-8")))
NORMS = 0.05  # of the published MACs, at most


def test_the_table_is_confirmed_and_broad():
    assert len(ROWS) >= 40
    for row in ROWS:
        params, macs = int(row["params"]), int(row["macs"])
        assert float(row["published_mparams"]) == pytest.approx(params / 1e6, abs=0.0051)
        if row["published_gmacs"]:
            published, rounding = float(row["published_gmacs"]) * 1e9, 0.005e9
            assert macs - rounding <= published <= macs * (1 + NORMS) + rounding
        else:
            assert row["source"] == "fvcore-unfused"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_golden_counts(row):
    size = int(row["img_size"])
    with torch.device("meta"):
        model = timm.create_model(row["model"])
    cost = count_cost(model, torch.empty(1, 3, size, size, device="meta"), cross_check=False)
    assert (cost.params, cost.macs, cost.at_least) == (int(row["params"]), int(row["macs"]), ())


def test_a_plain_transformer_by_its_closed_formula():
    (row,) = [row for row in ROWS if row["model"] == "deit_tiny_patch16_224"]
    tokens, width, patches = 197, 192, 196
    block = 4 * tokens * width**2 + 2 * tokens**2 * width + 8 * tokens * width**2
    assert int(row["macs"]) == patches * 3 * 16**2 * width + 12 * block + 1000 * width
