"""The service that records for months: a test set for each version of a target and each day."""
