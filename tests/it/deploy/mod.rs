//! What is in `deploy/`: the balancer's file run for real, the unit under a stand-in for systemd, and every port, path and
//! time in them and in the Terraform files held against the program's own.

mod agreement;
mod balancer;
mod files;
mod machines;
mod notify;
mod references;
