//! What the console says, in each language: one struct of texts a screen, and what is said on more than one in `shell`.

pub(crate) mod applications;
pub(crate) mod broadcast;
pub(crate) mod dead;
pub(crate) mod destinations;
pub(crate) mod errors;
pub(crate) mod logs;
pub(crate) mod overview;
pub(crate) mod replay;
pub(crate) mod settings;
pub(crate) mod shell;
pub(crate) mod sign_in;
pub(crate) mod tables;
