"""The five phases, their gates and artifacts."""
