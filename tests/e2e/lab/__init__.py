"""A lab for end-to-end tests: a database in the cluster, the operator by its chart, queues and their pods."""
