"""Statistics that several probes share: intervals, resampling, classifiers on embeddings."""
