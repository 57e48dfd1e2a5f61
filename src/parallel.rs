//! Work on several cores.

use std::num::NonZero;
use std::sync::Mutex;

/// Returns the result for each piece, in order, from as many threads as there are cores. This
/// thread is one of them. All threads have ended when it returns; a panic in one continues here.
pub fn map<P: Send, T: Send>(pieces: Vec<P>, map: impl Fn(P) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = workers.min(pieces.len());
    let waiting = Mutex::new(pieces.into_iter().enumerate());
    let one = || {
        let mut done = Vec::new();
        // The lock is held only to take the next piece, so it cannot be poisoned by a failing one.
        while let Some((at, piece)) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
            done.push((at, map(piece)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(one)).collect();
        let mut done = one();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, it)| it).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_piece_is_done_once_and_in_order() {
        let done = super::map((0..1000).collect(), |piece: u32| piece * 2);
        assert_eq!(done, (0..1000).map(|piece| piece * 2).collect::<Vec<_>>());
        assert!(super::map(Vec::new(), |piece: u32| piece).is_empty());
    }
}
