"""Real programs of many runtimes, recorded under load and replayed: `harness` says how."""
