"""The planted benchmark: known cues are drawn into images, and the verdict's hits, misses and false alarms are counted."""
