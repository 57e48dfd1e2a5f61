//! etcd's snapshot: the database file, then its SHA-256 (etcd
//! `server/etcdserver/api/v3rpc/maintenance.go`).

use super::digest::{Sha256, hex};

/// Size of the digest at the end, in bytes.
pub const TRAILER: usize = 32;
/// Size that divides the size of the database, in bytes (etcdutl `snapshot.hasChecksum`).
const SECTOR: u64 = 512;

/// A check of a snapshot while its bytes are copied.
#[derive(Clone, Default)]
pub struct Trailer {
    digest: Sha256,
    tail: Vec<u8>,
    size: u64,
}

impl Trailer {
    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        let keep = piece.len().min(TRAILER);
        let (body, end) = piece.split_at(piece.len() - keep);
        // The bytes that seemed to be the end belong to the database, except for those that the new
        // end lacks.
        let old = self.tail.len().saturating_sub(TRAILER - keep);
        self.digest.update(&self.tail[..old]);
        self.tail.drain(..old);
        self.digest.update(body);
        self.tail.extend_from_slice(end);
    }

    /// Returns the size of the whole snapshot in bytes, or what is wrong with it.
    pub fn check(self) -> Result<u64, String> {
        if self.size <= TRAILER as u64 || self.size % SECTOR != TRAILER as u64 {
            return Err(format!(
                "is cut short, or has no checksum: {} bytes are not a database and a SHA-256",
                self.size
            ));
        }
        if self.digest.finish() != hex(&self.tail) {
            return Err("is damaged: the SHA-256 at its end is not that of the rest".into());
        }
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    fn snapshot() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..20_480_u32).map(|i| (i % 251) as u8).collect();
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        bytes
    }

    fn check(bytes: &[u8], piece: usize) -> Result<u64, String> {
        let mut trailer = Trailer::default();
        bytes.chunks(piece).for_each(|piece| trailer.update(piece));
        trailer.check()
    }

    #[test]
    fn a_whole_snapshot_is_good_however_it_is_cut_into_pieces() {
        for piece in [1, 5, 31, 32, 33, 511, 4096, 20_511, 20_512, 1 << 20] {
            assert_eq!(check(&snapshot(), piece), Ok(20_512), "pieces of {piece}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        for at in [0, 1, 4095, 4096, 20_479, 20_480, 20_511] {
            let mut bytes = snapshot();
            bytes[at] ^= 0x10;
            assert!(check(&bytes, 4096).unwrap_err().contains("damaged"), "byte {at}");
        }
    }

    #[test]
    fn one_that_is_cut_or_has_no_trailer_is_found() {
        let whole = snapshot();
        for length in [0, 1, 32, 20_480, 20_511] {
            assert!(
                check(&whole[..length], 4096).unwrap_err().contains("cut short"),
                "{length} bytes"
            );
        }
        // The size fits, and the digest does not.
        assert!(check(&whole[..16_384 + 32], 4096).unwrap_err().contains("damaged"));
    }
}
