"""Tiny checkpoints and goldens of the Qwen2.5-Omni family."""
