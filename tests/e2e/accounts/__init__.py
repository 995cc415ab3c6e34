"""A service of accounts whose balances are read through many drivers, in the form it is told to."""
