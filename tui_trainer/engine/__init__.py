"""The trainer: loop, step, precision, seeding, checkpoints, and the events it emits."""
