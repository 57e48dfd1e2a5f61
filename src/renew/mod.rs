//! Renew: issue new pairs in memory ([`issue`]), then put them in place ([`install`]).

mod copies;
pub mod install;
pub mod issue;
