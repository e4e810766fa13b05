"""What a run is told to do: schema, loading, targets, and the errors that people read."""
