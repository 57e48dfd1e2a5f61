//! `keys NUMBER`: makes this many RSA-2048 keys on all cores with the library that kubecertd uses,
//! and nothing else: the floor of `renew all`.

use std::process::ExitCode;

use kubecertd::parallel;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

fn main() -> ExitCode {
    let number = std::env::args().nth(1).and_then(|number| number.parse::<u32>().ok());
    let Some(number) = number else {
        eprintln!("usage: keys NUMBER");
        return ExitCode::from(2);
    };
    let made = parallel::map((0..number).collect(), |_| {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).is_ok()
    });
    if made.into_iter().all(|is_made| is_made) {
        ExitCode::SUCCESS
    } else {
        eprintln!("keys: cannot make an RSA key");
        ExitCode::FAILURE
    }
}
