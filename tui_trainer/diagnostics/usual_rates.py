"""Learning rates that are usual for an optimizer, and how far from them a run's own is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config

_USUAL = {
    "adam": 1e-3,
    "adamw": 1e-3,
    "nadam": 1e-3,
    "radam": 1e-3,
    "adamax": 2e-3,
    "rmsprop": 1e-3,
    "adagrad": 1e-2,
    "adadelta": 1.0,
    "sgd": 0.1,
    "asgd": 0.1,
}
_HOT = {"sgd": 0.5, "asgd": 0.5, "rprop": 0.5, "adadelta": 2.0, "adagrad": 0.1}
_HOT_ADAPTIVE = 5e-3  # for Adam and its kin
_OUT_OF_BOUNDS = 20.0  # times that


def usual_rate(config: Config) -> float | None:
    """What one begins with where nothing is known; None for an optimizer that is not in the list.

    With momentum a step is 1 / (1 - momentum) times as long in the end, and the rate so much smaller.
    """
    rate = _USUAL.get(config.optimizer.target.lower())
    return None if rate is None else float(f"{rate * (1 - _momentum(config)):.2g}")


def _momentum(config: Config) -> float:
    """That of SGD; 0 for any other optimizer."""
    momentum = config.optimizer.args.get("momentum")
    if config.optimizer.target.lower() != "sgd" or not isinstance(momentum, (int, float)):
        return 0.0
    return float(momentum) if 0 < momentum < 1 else 0.0


def hot_rate(config: Config) -> float:
    """The rate above which one first thinks of the rate, where training diverges or units die; lower for SGD with much
    momentum."""
    rate = _HOT.get(config.optimizer.target.lower(), _HOT_ADAPTIVE)
    return min(rate, 2 * (1 - _momentum(config)))


def is_hot(config: Config) -> bool:
    """Whether the learning rate is so high for its optimizer that it comes to mind first."""
    return config.optimizer.learning_rate > hot_rate(config)


def is_out_of_bounds(config: Config) -> bool:
    """Whether it is so high that a tenth of it would be too high still."""
    return config.optimizer.learning_rate > _OUT_OF_BOUNDS * hot_rate(config)


def is_cold(config: Config, *, factor: float = 10.0) -> bool:
    """Whether the learning rate is `factor` times smaller than usual, or more."""
    usual = usual_rate(config)
    return usual is not None and config.optimizer.learning_rate * factor <= usual
