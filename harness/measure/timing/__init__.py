"""Timing of training steps: clock, speed, audit, memory and the limits of the machine."""
