"""Random failures at seeded times against a real queue, and the promises that must hold afterwards."""
