"""Development only: the local cluster, its databases and images, the demo and the test run."""
