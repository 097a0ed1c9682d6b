"""The pods of a queue: Kubernetes only, knows nothing of SQL."""
