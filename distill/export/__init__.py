"""A trained student as ONNX, as an open_clip folder or as safetensors."""
