"""Object stores of this machine: moto's S3, and one that only lists."""
