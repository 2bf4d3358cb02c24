//! Settings of a node: flags, then the environment, then `tidegate.toml`.
