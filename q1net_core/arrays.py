"""Names of array types, each defined here alone.

Layer: numpy only.
"""

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
# Indices, counts and quantization steps: 64 bits on every platform that is supported.
IntArray = npt.NDArray[np.intp]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
