//! How far a long command has come: a line that moves on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// From one line to the next where lines stay.
const EVERY: Duration = Duration::from_secs(5);
/// From one to the next where each takes the place of the one before.
const EVERY_ON_TERMINAL: Duration = Duration::from_millis(100);
const BAR: usize = 30;

/// The progress of one piece of work, written to standard error.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    on_terminal: bool,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// Work of so many pieces that begins now.
    pub fn new(what: &'static str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            what,
            total,
            done: 0,
            on_terminal: std::io::stderr().is_terminal(),
            began: now,
            told: now,
        }
    }

    /// So many more are done.
    pub fn add(&mut self, pieces: u64) {
        self.done = self.done.saturating_add(pieces);
        let every = if self.on_terminal {
            EVERY_ON_TERMINAL
        } else {
            EVERY
        };
        if self.told.elapsed() >= every {
            self.told = Instant::now();
            self.tell("");
        }
    }

    /// It is over.
    pub fn finish(self) {
        let took = format!(", {:.1} s", self.began.elapsed().as_secs_f64());
        self.tell(&took);
        if self.on_terminal {
            write("\n");
        }
    }

    fn tell(&self, behind: &str) {
        let line = line(self.what, self.done, self.total, self.on_terminal);
        if self.on_terminal {
            write(&format!("\r{line}{behind}"));
        } else {
            write(&format!("{line}{behind}\n"));
        }
    }
}

/// Nobody may be reading any more; that is no reason to stop.
fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn line(what: &str, done: u64, total: u64, bar: bool) -> String {
    let share = |of: u64| done.min(total) * of / total.max(1);
    let percent = share(100);
    if bar {
        let filled = usize::try_from(share(BAR as u64)).unwrap_or(BAR);
        let (full, empty) = ("#".repeat(filled), ".".repeat(BAR - filled));
        format!("{what} [{full}{empty}] {percent:3} % {done}/{total}")
    } else {
        format!("{what}: {done} of {total} ({percent} %)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(line("users", 50, 200, false), "users: 50 of 200 (25 %)");
        let bar = line("users", 50, 200, true);
        assert_eq!(
            bar,
            format!("users [{}{}]  25 % 50/200", "#".repeat(7), ".".repeat(23))
        );
        assert_eq!(line("users", 0, 0, false), "users: 0 of 0 (0 %)");
        assert!(line("users", 9, 3, true).contains("100 %"));
    }
}
