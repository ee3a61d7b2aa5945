"""What a JPEG file says of itself: markers, header and quantization tables."""
