"""The codecs that compress training and evaluation pictures, whole images or windows of them."""
