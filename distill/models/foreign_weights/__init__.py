"""Weights of other tools: their files read as plain tensors, fitted to a model by name, with every tensor used or named."""
