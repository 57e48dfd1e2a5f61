//! Renew: issue new pairs in memory ([`issue`]), then put them in place ([`install`]).

mod copies;
pub mod issue;
pub mod render;
