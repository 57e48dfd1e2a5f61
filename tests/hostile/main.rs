//! Hostile input: with any bytes in place of a file, the program ends, in time and within
//! memory, says why, and does the rest.
//!
//! [`oracle`] says what must hold; the other modules make inputs for it, at random from a fixed
//! seed, by damaging real files, and by filling 1 MiB with the input that costs a parser most.

#[path = "../support/mod.rs"]
mod support;

mod amplified;
mod binary;
mod bounded;
mod corpus;
mod damage;
mod der;
mod many;
mod oracle;
mod properties;
mod settings;
