"""Planted truth: known shortcuts painted into images, so that everything that looks for shortcuts can be measured."""
