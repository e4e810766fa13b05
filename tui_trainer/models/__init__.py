"""Built-in models, and how any model is built to fit its data."""
