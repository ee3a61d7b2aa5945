"""Flags, the local engine, progress, counters; the only place where Beam and other libraries are patched."""
