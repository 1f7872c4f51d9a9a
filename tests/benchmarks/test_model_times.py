"""The whole model with every attention."""

import pytest
from timed_cases import ATTENTIONS, case, time_forward


@pytest.mark.parametrize("res", [128, 256])
@pytest.mark.parametrize("attn", ATTENTIONS)
def test_model(benchmark, attn, res):
    time_forward(benchmark, case(attn, "model", res))
