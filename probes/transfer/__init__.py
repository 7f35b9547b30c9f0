"""Zero-shot, few-shot and linear accuracy on real and synthetic images."""
