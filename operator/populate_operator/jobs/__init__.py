"""The DataJoint job queue in SQL: knows nothing of Kubernetes."""
