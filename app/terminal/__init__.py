"""What commands share: options, loading of models and images, progress, errors as one line."""
