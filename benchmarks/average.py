"""The loop most people write: a DataLoader, plain Adam, `.item()` each step, one validation an epoch."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.workloads import Fit, Workload


def fit(workload: Workload) -> Fit:
    """As in PyTorch's own tutorials."""
    task = workload.load()
    train_set, val_set = task.datasets()
    train_loader = DataLoader(train_set, batch_size=task.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=task.val_batch_size)
    model = task.make_model()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=task.learning_rate)
    result = Fit(samples=len(train_set))
    for _ in range(task.epochs):
        model.train()
        running_loss = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        model.eval()
        total, correct = 0.0, 0
        with torch.no_grad():
            for inputs, targets in val_loader:
                outputs = model(inputs)
                total += criterion(outputs, targets).item() * len(targets)
                correct += (outputs.argmax(1) == targets).sum().item()
        result.val_loss, result.val_accuracy = total / len(val_set), correct / len(val_set)
        result.end_epoch()
    return result
