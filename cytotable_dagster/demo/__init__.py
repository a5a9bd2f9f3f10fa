"""A synthetic plate with images, and an S3 server on loopback to serve it.

Needs the extra `demo` (scipy, tifffile, moto). Nothing of it is imported before it is used.
"""
