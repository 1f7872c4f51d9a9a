"""A model that learns a few pictures by heart, for tests of tasks."""

import torch


def losses_of(task, model, images, truth, steps):
    """The losses of so many steps on the same pictures, in training mode."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = task.loss(model(images), truth, tuple(images.shape[-2:]), 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
