//! SENDs that wait for their transaction's end: bounded, and handed on all together or not at all.

use std::collections::HashMap;

use super::Violation;

/// How much a session may have waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Transactions at a time.
    pub transactions: usize,
    /// Messages in all of them.
    pub messages: usize,
    /// Bytes in all of them.
    pub bytes: usize,
}

/// A SEND that waits. A copy: a part of what was read would keep all of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its whole destination.
    pub destination: Box<str>,
    /// The receipt that it asks for.
    pub receipt: Option<Box<str>>,
    /// Its body.
    pub body: Box<[u8]>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.destination.len() + self.receipt.as_deref().map_or(0, str::len) + self.body.len()
    }
}

/// A transaction that has ended well or not so well.
#[derive(Debug, PartialEq, Eq)]
pub enum Committed {
    /// These are to be done, in this order.
    All(Vec<Kept>),
    /// One of its messages was refused: none is to be done.
    Nothing,
}

/// A session's open transactions.
#[derive(Debug, Default)]
pub struct Transactions {
    open: HashMap<Box<str>, Transaction>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Transaction {
    kept: Vec<Kept>,
    is_spoiled: bool,
}

impl Transactions {
    /// Begins one.
    pub fn begin(&mut self, name: &str, limits: TransactionLimits) -> Result<(), Violation> {
        if self.open.contains_key(name) {
            return Err(Violation::TransactionTaken);
        }
        if self.open.len() >= limits.transactions {
            return Err(Violation::TooManyTransactions);
        }
        self.open.insert(name.into(), Transaction::default());
        Ok(())
    }

    /// Whether it has begun.
    pub fn check(&self, name: &str) -> Result<(), Violation> {
        if self.open.contains_key(name) {
            Ok(())
        } else {
            Err(Violation::TransactionUnknown)
        }
    }

    /// Adds a message to one.
    pub fn keep(
        &mut self,
        name: &str,
        kept: Kept,
        limits: TransactionLimits,
    ) -> Result<(), Violation> {
        let transaction = self
            .open
            .get_mut(name)
            .ok_or(Violation::TransactionUnknown)?;
        let bytes = self.bytes.saturating_add(kept.bytes());
        if self.messages >= limits.messages || bytes > limits.bytes {
            return Err(Violation::TransactionsTooLarge);
        }
        // What is not to be done need not be kept.
        if !transaction.is_spoiled {
            self.messages += 1;
            self.bytes = bytes;
            transaction.kept.push(kept);
        }
        Ok(())
    }

    /// One of its messages was refused.
    pub fn spoil(&mut self, name: &str) {
        if let Some(mut transaction) = self.take(name) {
            transaction.is_spoiled = true;
            transaction.kept = Vec::new();
            self.open.insert(name.into(), transaction);
        }
    }

    /// Ends one: what is to be done.
    pub fn commit(&mut self, name: &str) -> Result<Committed, Violation> {
        let transaction = self.take(name).ok_or(Violation::TransactionUnknown)?;
        Ok(if transaction.is_spoiled {
            Committed::Nothing
        } else {
            Committed::All(transaction.kept)
        })
    }

    /// Ends one: nothing is to be done.
    pub fn abort(&mut self, name: &str) -> Result<(), Violation> {
        self.take(name)
            .map(drop)
            .ok_or(Violation::TransactionUnknown)
    }

    fn take(&mut self, name: &str) -> Option<Transaction> {
        let transaction = self.open.remove(name)?;
        self.messages -= transaction.kept.len();
        self.bytes -= transaction.kept.iter().map(Kept::bytes).sum::<usize>();
        Some(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TransactionLimits = TransactionLimits {
        transactions: 2,
        messages: 3,
        bytes: 100,
    };

    fn kept(text: &str) -> Kept {
        Kept {
            destination: "/app/x".into(),
            receipt: None,
            body: text.as_bytes().into(),
        }
    }

    #[test]
    fn what_is_kept_comes_out_in_order_and_makes_room() {
        let mut transactions = Transactions::default();
        transactions.begin("a", LIMITS).unwrap();
        transactions.begin("b", LIMITS).unwrap();
        assert_eq!(
            transactions.begin("a", LIMITS),
            Err(Violation::TransactionTaken)
        );
        assert_eq!(
            transactions.begin("c", LIMITS),
            Err(Violation::TooManyTransactions)
        );
        for (name, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            transactions.keep(name, kept(text), LIMITS).unwrap();
        }
        assert_eq!(
            transactions.keep("b", kept("4"), LIMITS),
            Err(Violation::TransactionsTooLarge)
        );
        let Ok(Committed::All(done)) = transactions.commit("a") else {
            panic!("not committed")
        };
        assert_eq!(done, [kept("1"), kept("3")]);
        assert_eq!(transactions.commit("a"), Err(Violation::TransactionUnknown));
        assert_eq!(
            transactions.keep("b", kept(&"x".repeat(100)), LIMITS),
            Err(Violation::TransactionsTooLarge)
        );
        transactions.abort("b").unwrap();
        assert_eq!((transactions.messages, transactions.bytes), (0, 0));
    }

    #[test]
    fn a_message_that_is_refused_takes_its_transaction_with_it() {
        let mut transactions = Transactions::default();
        transactions.begin("a", LIMITS).unwrap();
        transactions.keep("a", kept("1"), LIMITS).unwrap();
        transactions.spoil("a");
        assert_eq!((transactions.messages, transactions.bytes), (0, 0));
        transactions.keep("a", kept("2"), LIMITS).unwrap();
        assert_eq!(transactions.messages, 0);
        assert_eq!(transactions.commit("a"), Ok(Committed::Nothing));
    }
}
