"""Readers of what the published Fast-dLLM scripts write; one file per format."""
