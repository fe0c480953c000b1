"""Central differences, to check gradients that were derived by hand."""

import numpy as np

STEP = 1e-6


def central_differences(loss, array):
    """Return d loss() / d array; ``loss`` reads ``array``, which is moved in place and restored."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value, sides = array[index], []
        for sign in (1, -1):
            array[index] = value + sign * STEP
            sides.append(loss())
        array[index] = value
        gradient[index] = (sides[0] - sides[1]) / (2 * STEP)
    return gradient
