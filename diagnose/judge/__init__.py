"""From measured numbers to labels: evidence, contrasts, factor shares, causes and the verdict; no words and no report."""
