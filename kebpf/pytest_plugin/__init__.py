"""The pytest plug-in: mocks for marked tests, and recorded cases as tests."""
