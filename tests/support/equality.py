"""Two implementations are equal in values and gradients, in float64 wherever ``in_float64`` is imported."""

import pytest
import torch


@pytest.fixture(autouse=True)
def in_float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def values_and_gradients(function, x, parameters):
    """The result for x, and the gradients of a random projection of it in x and in the parameters."""
    x = x.clone().requires_grad_()
    y = function(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *parameters])]


def assert_same(actual, expected, rtol=1e-10, atol=1e-12):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a.reshape(b.shape), b, rtol=rtol, atol=atol)
