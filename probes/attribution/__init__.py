"""Attribution: which pixels an encoder's class and its notion of synthetic come from, and whether the maps can be believed."""

from probes.attribution.attribution_maps import maps
from probes.attribution.probe import attribution

__all__ = ["attribution", "maps"]
