"""Measure one frozen encoder beside its teacher."""
