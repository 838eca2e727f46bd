"""Supervised fine-tuning: the warm start of a new model, and answers-only or reasoned fine-tuning of any model."""
