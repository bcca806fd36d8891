//! Batches that cannot be done as a whole: they are divided until what it is stands alone, and that is given up if everything else can be done.

use std::collections::VecDeque;

/// Into how many parts what failed is divided.
const PARTS: usize = 16;
/// How often it is tried to do what stands alone.
const TRIES: u32 = 3;
/// Of how many pieces nothing new is to be begun.
const MOST: usize = 64;

/// What can be done in parts.
pub(super) trait Divisible: Sized {
    /// How many it is about.
    fn len(&self) -> usize;

    /// Its parts, of at most so many each.
    fn divide(self, most: usize) -> Vec<Self>;
}

/// A batch, or a part of one.
#[derive(Debug)]
pub(super) struct Piece<B> {
    pub(super) batch: B,
    /// How often it failed while something else did not,
    tries: u32,
    /// and how much had been done when it was tried last.
    done: u64,
}

/// What failed and is to be tried again, and how much did not.
#[derive(Debug)]
pub(super) struct Failures<B> {
    pieces: VecDeque<Piece<B>>,
    done: u64,
}

impl<B> Default for Failures<B> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            done: 0,
        }
    }
}

impl<B: Divisible> Failures<B> {
    /// Something that is to be tried.
    pub(super) fn piece(&self, batch: B) -> Piece<B> {
        Piece {
            batch,
            tries: 0,
            done: self.done,
        }
    }

    /// Something was done.
    pub(super) fn succeeded(&mut self) {
        self.done += 1;
    }

    /// This was not. It comes back if it is to be given up: while nothing else can be done either, it is not its fault.
    pub(super) fn failed(&mut self, mut piece: Piece<B>) -> Option<B> {
        let length = piece.batch.len();
        if length > 1 {
            for part in piece.batch.divide(length.div_ceil(PARTS)) {
                let part = self.piece(part);
                self.pieces.push_back(part);
            }
            return None;
        }
        if self.done > piece.done {
            piece.tries += 1;
            piece.done = self.done;
        }
        if piece.tries >= TRIES {
            return Some(piece.batch);
        }
        self.pieces.push_back(piece);
        None
    }

    /// What is to be tried again next.
    pub(super) fn next(&mut self) -> Option<Piece<B>> {
        self.pieces.pop_front()
    }

    /// Whether something new may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.pieces.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Divisible for Vec<u32> {
        fn len(&self) -> usize {
            self.len()
        }

        fn divide(self, most: usize) -> Vec<Self> {
            self.chunks(most).map(<[u32]>::to_vec).collect()
        }
    }

    /// Tries so often. What was done, and what was given up.
    fn tried(is_good: impl Fn(u32) -> bool) -> (Vec<u32>, Vec<u32>) {
        let mut failures = Failures::default();
        let (mut done, mut given_up) = (Vec::new(), Vec::new());
        let mut next = Some(failures.piece((0..512).collect::<Vec<u32>>()));
        for _ in 0..200 {
            let Some(piece) = next.take().or_else(|| failures.next()) else {
                break;
            };
            if is_good(512) {
                // Others come and go meanwhile.
                failures.succeeded();
            }
            if piece.batch.iter().all(|one| is_good(*one)) {
                failures.succeeded();
                done.extend(piece.batch);
            } else if let Some(culprit) = failures.failed(piece) {
                given_up.extend(culprit);
            }
        }
        done.sort_unstable();
        (done, given_up)
    }

    #[test]
    fn who_cannot_be_helped_is_found_among_the_others_and_given_up() {
        let (done, given_up) = tried(|one| one != 300);
        assert_eq!(given_up, [300]);
        assert!(done.into_iter().eq((0..512).filter(|one| *one != 300)));
    }

    #[test]
    fn nobody_is_given_up_while_nothing_can_be_done() {
        assert_eq!(tried(|_| false), (Vec::new(), Vec::new()));
    }

    #[test]
    fn nothing_new_is_begun_while_too_much_failed() {
        let mut failures = Failures::default();
        for _ in 0..MOST {
            assert!(failures.has_room());
            let piece = failures.piece(vec![1]);
            assert_eq!(failures.failed(piece), None);
        }
        assert!(!failures.has_room());
    }
}
