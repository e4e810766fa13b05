"""Errors that a person reads: one paragraph, no traceback.

A message says what was found, where (file, line or key), what was expected and what to do. The command line
prints it and exits with `exit_code`; a traceback, where there is one, goes to the run's `training.log`.
"""

from __future__ import annotations


class UserError(Exception):
    """A problem that its reader can mend. `exit_code` is the process's exit status (DESIGN §4)."""

    exit_code = 2


class ConfigError(UserError):
    """The config, a flag or an override is wrong."""


class DataError(UserError):
    """The data cannot be read, built, split or batched."""


class ModelError(UserError):
    """The model, loss, metric, optimizer or scheduler cannot be built, or does not fit the data."""


class RunFolderError(UserError):
    """The output folder cannot be used, or a checkpoint in it cannot be loaded."""


class TrainingError(UserError):
    """Training started, or could have, and cannot go on."""

    exit_code = 1
