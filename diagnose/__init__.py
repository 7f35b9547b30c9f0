"""Judge: run the probes, weigh the evidence, write the report."""
