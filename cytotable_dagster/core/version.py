"""The version of the converter: part of every result's footer and fingerprint."""

VERSION = "0.3.0.dev0"
