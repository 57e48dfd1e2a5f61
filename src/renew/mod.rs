//! Renewal: issues new pairs in memory ([`issue`]), and renders the files that hold them
//! ([`render`]).

mod copies;
pub mod issue;
pub mod render;
pub mod replacement;
