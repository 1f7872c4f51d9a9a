"""Attentions that go wrong, each in its own way. Named by import string in tests of the runner."""

import os
import signal
import time
import traceback

import torch
from torch import Tensor, nn


def called_from(file: str) -> bool:
    return any(call.filename.endswith(f"/{file}") for call in traceback.extract_stack())


class Faulty(nn.Module):
    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        super().__init__()
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        # A model on the meta device is only counted; the fault is for the run.
        return self.proj(x) if x.is_meta else self.fail(x)

    def fail(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class ReturnsNaN(Faulty):
    def fail(self, x):
        return self.proj(x) * float("nan")


class WrongShape(Faulty):
    def fail(self, x):
        return self.proj(x)[:, :1]


class KillsItself(Faulty):
    def fail(self, x):
        os.kill(os.getpid(), signal.SIGKILL)
        return x


class KillsItselfLater(Faulty):
    """Dies where it is timed, and nowhere else."""

    def fail(self, x):
        if called_from("timing.py"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.proj(x)


class NeedsTooMuch(Faulty):
    def fail(self, x):
        return self.proj(x) + torch.ones(2**42).sum()


class Hangs(Faulty):
    def fail(self, x):
        time.sleep(3600)
        return x


class Raises(Faulty):
    def fail(self, x):
        raise ZeroDivisionError("planted\nwith a second line")


class Refuses(Faulty):
    def __init__(self, *, embed_dim: int, qkv_dim: int, num_heads: int):
        raise ValueError("planted refusal")


class PrintsALot(Faulty):
    def fail(self, x):
        print('{"result": "not the protocol"}' * 1000, flush=True)
        return self.proj(x)


class RefusesInstruments(Faulty):
    """Fails where its time is taken apart, and nowhere else."""

    def fail(self, x):
        if called_from("breakdown.py"):
            raise RuntimeError("planted")
        return self.proj(x)
