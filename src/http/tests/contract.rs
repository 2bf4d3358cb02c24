//! The documentation and the code say the same.
