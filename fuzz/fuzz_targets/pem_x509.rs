//! PEM text, certificates and private keys.

#![no_main]

#[path = "../../tests/hostile/oracle.rs"]
#[allow(dead_code, reason = "each target asks one of its functions")]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::pem_x509(bytes));
