"""The recurrent layers: scans, fused loops, native kernels and methods parallel in time."""
