"""What a finished run shows: curves, fit, gradients, resources, mistakes; the verdict on them, and what to do."""
