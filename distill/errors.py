"""The one error class of the `distill` package."""


class DistillError(RuntimeError):
    """Raised for a state only this package has: a broken checkpoint, a run in use, a diverged student."""
