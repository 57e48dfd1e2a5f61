//! Work on all cores.

use std::num::NonZero;
use std::sync::Mutex;

/// Does each piece, on as many threads as there are cores (and no more than `most`); what came of them is in no order. This thread is one of them, and all
/// are over when it returns.
pub fn work<P: Send, T: Send>(most: usize, pieces: Vec<P>, work: impl Fn(P) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = workers.min(most).min(pieces.len());
    let waiting = Mutex::new(pieces.into_iter());
    let one = || {
        let mut done = Vec::new();
        // The lock is held only to take the next piece, so it cannot be poisoned by a failing one.
        while let Some(piece) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
            done.push(work(piece));
        }
        done
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(one)).collect();
        let mut done = one();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_piece_is_done_once() {
        let mut done = super::work(3, (0..1000).collect(), |piece: u32| piece * 2);
        done.sort_unstable();
        assert_eq!(done, (0..1000).map(|piece| piece * 2).collect::<Vec<_>>());
        assert!(super::work(3, Vec::new(), |piece: u32| piece).is_empty());
    }
}
