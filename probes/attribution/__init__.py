"""Attribution: which pixels an encoder's class and its notion of synthetic come from, and whether the maps can be believed."""

from probes.attribution.probe import attribution
from probes.attribution.request import maps

__all__ = ["attribution", "maps"]
