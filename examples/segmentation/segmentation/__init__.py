"""Segments the photographs that scikit-image carries, by three methods, in a DataJoint pipeline."""
