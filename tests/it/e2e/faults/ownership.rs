//! Who writes to what while nodes come and go.
