"""Stores on loopback for the tests: S3, Google Cloud Storage, Azure; and a server before each that counts and refuses."""
