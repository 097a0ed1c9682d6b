"""The images of the operator, the example and MySQL, built when their sources change."""
