"""A probe: what it sees of a trained network, and what it returns."""

from harness.contract.probes.probe import Curve, Findings, Probe, Stepper, TrainedNetwork

__all__ = ["Curve", "Findings", "Probe", "Stepper", "TrainedNetwork"]
