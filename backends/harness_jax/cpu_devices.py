"""The variable that divides the CPU into several JAX devices. JAX is not imported here."""

CPU_DEVICES = "JAX_NUM_CPU_DEVICES"
