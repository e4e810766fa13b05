"""The project's own fault suite: faults injected into real trainings, healthy trainings beside them, and what the rules say."""
