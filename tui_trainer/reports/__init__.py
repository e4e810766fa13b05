"""Text and plots for people, written from what a run left behind."""
