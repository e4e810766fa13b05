"""Other trainers, each used as its own documentation shows, with its defaults.

All but skorch, which brings its own, read items through `DataLoader(TensorDataset)`, as their examples do.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.workloads import Fit, Task, Workload


def lightning(workload: Workload) -> Fit:
    """Lightning: a LightningModule that logs its losses, `Trainer(max_epochs=…)`."""
    import lightning as L  # noqa: N812 (the name its documentation uses)

    task = workload.load()
    train_loader, val_loader = _loaders(task)
    result = Fit(samples=len(task.train_targets))

    class Classifier(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.make_model()

        def training_step(self, batch: Any, _: int) -> Tensor:
            inputs, targets = batch
            loss = cross_entropy(self.model(inputs), targets)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            inputs, targets = batch
            outputs = self.model(inputs)
            self.log("val_loss", cross_entropy(outputs, targets))
            self.log("val_accuracy", (outputs.argmax(1) == targets).float().mean())

        def on_validation_end(self) -> None:
            if not self.trainer.sanity_checking:
                result.end_epoch()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=task.learning_rate)

    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(max_epochs=task.epochs, default_root_dir=folder)
        trainer.fit(Classifier(), train_loader, val_loader)
    result.val_loss = float(trainer.callback_metrics["val_loss"])
    result.val_accuracy = float(trainer.callback_metrics["val_accuracy"])
    return result


def huggingface(workload: Workload) -> Fit:
    """Hugging Face `Trainer`: AdamW with a linear schedule and clipping at 1.0 are its defaults."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    task = workload.load()
    result = Fit(samples=len(task.train_targets))

    class Items(Dataset[dict[str, Tensor]]):
        def __init__(self, inputs: Tensor, targets: Tensor) -> None:
            self.inputs, self.targets = inputs, targets

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return {"inputs": self.inputs[index], "labels": self.targets[index]}

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = task.make_model()

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            outputs = self.model(inputs)
            return {"loss": cross_entropy(outputs, labels), "logits": outputs}

    class Marks(TrainerCallback):
        def on_evaluate(self, *_: Any, **__: Any) -> None:
            result.end_epoch()

    def accuracy(prediction: Any) -> dict[str, float]:
        return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=Classifier(),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=task.epochs,
                per_device_train_batch_size=task.batch_size,
                per_device_eval_batch_size=task.val_batch_size,
                learning_rate=task.learning_rate,
                eval_strategy="epoch",
                report_to="none",
            ),
            train_dataset=Items(task.train_inputs, task.train_targets),
            eval_dataset=Items(task.val_inputs, task.val_targets),
            compute_metrics=accuracy,
            callbacks=[Marks()],
        )
        trainer.train()
    last = next(entry for entry in reversed(trainer.state.log_history) if "eval_accuracy" in entry)
    result.val_loss, result.val_accuracy = last["eval_loss"], last["eval_accuracy"]
    return result


def ignite(workload: Workload) -> Fit:
    """Ignite: supervised trainer and evaluator, as in its quickstart."""
    from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss

    task = workload.load()
    train_loader, val_loader = _loaders(task)
    model, criterion = task.make_model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=task.learning_rate)
    result = Fit(samples=len(task.train_targets))
    trainer = create_supervised_trainer(model, optimizer, criterion)
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy(), "loss": Loss(criterion)})

    @trainer.on(Events.ITERATION_COMPLETED(every=100))
    def log_training_loss(engine: Engine) -> None:
        print(f"Epoch[{engine.state.epoch}] Iter[{engine.state.iteration}] Loss: {engine.state.output:.2f}")

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_validation_results(engine: Engine) -> None:
        evaluator.run(val_loader)
        metrics = evaluator.state.metrics
        print(f"Epoch[{engine.state.epoch}] accuracy {metrics['accuracy']:.2f} loss {metrics['loss']:.2f}")
        result.val_loss, result.val_accuracy = metrics["loss"], metrics["accuracy"]
        result.end_epoch()

    trainer.run(train_loader, max_epochs=task.epochs)
    return result


def accelerate(workload: Workload) -> Fit:
    """Accelerate: the loop of its documentation, `prepare` and `backward` and `gather_for_metrics`."""
    from accelerate import Accelerator

    task = workload.load()
    accelerator = Accelerator()
    criterion, network = nn.CrossEntropyLoss(), task.make_model()
    model, optimizer, train_loader, val_loader = accelerator.prepare(
        network, torch.optim.Adam(network.parameters(), lr=task.learning_rate), *_loaders(task)
    )
    result = Fit(samples=len(task.train_targets))
    for _ in range(task.epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
        model.eval()
        total, correct, seen = 0.0, 0, 0
        for inputs, targets in val_loader:
            with torch.no_grad():
                outputs = model(inputs)
            outputs, labels = accelerator.gather_for_metrics((outputs, targets))
            total += criterion(outputs, labels).item() * len(labels)
            correct += (outputs.argmax(1) == labels).sum().item()
            seen += len(labels)
        result.val_loss, result.val_accuracy = total / seen, correct / seen
        result.end_epoch()
    return result


def skorch(workload: Workload) -> Fit:
    """skorch: `NeuralNetClassifier.fit` with its default table of losses and accuracy."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback
    from skorch.dataset import Dataset as SkorchDataset
    from skorch.helper import predefined_split

    task = workload.load()
    result = Fit(samples=len(task.train_targets))

    class Marks(Callback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            result.end_epoch()

    net = NeuralNetClassifier(
        task.make_model(),
        max_epochs=task.epochs,
        lr=task.learning_rate,
        optimizer=torch.optim.Adam,
        criterion=nn.CrossEntropyLoss,
        batch_size=task.batch_size,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=task.val_batch_size,
        train_split=predefined_split(SkorchDataset(task.val_inputs, task.val_targets)),
        callbacks=[Marks()],
    )
    net.fit(task.train_inputs, task.train_targets)
    result.val_loss = float(net.history[-1, "valid_loss"])
    result.val_accuracy = float(net.history[-1, "valid_acc"])
    return result


def _loaders(task: Task) -> tuple[DataLoader[Any], DataLoader[Any]]:
    sets: tuple[TensorDataset, TensorDataset] = task.datasets()
    return (
        DataLoader(sets[0], batch_size=task.batch_size, shuffle=True),
        DataLoader(sets[1], batch_size=task.val_batch_size),
    )
