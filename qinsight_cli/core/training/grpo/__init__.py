"""Multi-task GRPO through TRL."""
