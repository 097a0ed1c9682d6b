"""One PopulateQueue: its resource model, the pure plan and the reconcile loop."""
