"""The lattice estimator: the exact JPEG quality from the DCT coefficients of decoded pixels, or an abstention."""
