//! The queries by which lists are read in pages.

use confab_shared::id::MessageId;
use confab_shared::postgres::conversations::ListCursor;
use confab_shared::postgres::messages::{Page, Slice};

use super::form::{Optional, form};
use super::rule;

/// The entries of a page where the client does not say.
const DEFAULT_LIMIT: u32 = 50;

form! {
    /// Which part of a list, latest activity first.
    ListQuery {
        /// Where the page begins, as the `Link` of the one before says.
        "cursor" cursor: Option<ListCursor> = Optional(rule::LIST_CURSOR),
        /// How many entries; 50 if it is not said, at most 100.
        "limit" limit: Option<u32> = Optional(rule::LIMIT),
    }
}

form! {
    /// Which part of a conversation's history. The first of `before`, `after` and `page` that is given counts.
    HistoryQuery {
        /// What was said before this message (or cursor).
        "before" before: Option<MessageId> = Optional(rule::MESSAGE_ID),
        /// What was said after this message (or cursor), unless `before` is given.
        "after" after: Option<MessageId> = Optional(rule::MESSAGE_ID),
        /// The page with this number, counted from the newest, unless `before` or `after` is given.
        "page" page: Option<u32> = Optional(rule::PAGE),
        /// How many messages; 50 if it is not said, at most 100.
        "limit" limit: Option<u32> = Optional(rule::LIMIT),
    }
}

/// The entries of a page, as asked for or not.
pub(super) fn limit_or_default(limit: Option<u32>) -> u32 {
    limit.unwrap_or(DEFAULT_LIMIT)
}

impl HistoryQuery {
    /// The page that is asked for.
    pub(super) fn page(&self) -> Page {
        let slice = match *self {
            Self {
                before: Some(message),
                ..
            } => Slice::Before(message),
            Self {
                after: Some(message),
                ..
            } => Slice::After(message),
            Self {
                page: Some(number), ..
            } => Slice::Numbered(number),
            Self {
                before: None,
                after: None,
                page: None,
                ..
            } => Slice::Newest,
        };
        Page {
            slice,
            limit: limit_or_default(self.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::form::{Form, Given};
    use super::*;

    fn asked(query: &[(&str, &str)]) -> Option<Page> {
        let given = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        let form = HistoryQuery::read(Given::new(given.collect()));
        form.ok().map(|form| form.page())
    }

    #[test]
    fn a_page_is_asked_for_in_one_way() {
        let page = |slice, limit| Some(Page { slice, limit });
        let (newest, before) = (Slice::Newest, Slice::Before(MessageId(12)));
        assert_eq!(asked(&[]), page(newest, DEFAULT_LIMIT));
        assert_eq!(asked(&[("before", "12"), ("limit", "3")]), page(before, 3));
        assert_eq!(
            asked(&[("after", "12"), ("limit", "3")]),
            page(Slice::After(MessageId(12)), 3)
        );
        assert_eq!(
            asked(&[("page", "2"), ("limit", "3")]),
            page(Slice::Numbered(2), 3)
        );
        assert_eq!(
            asked(&[("before", "12"), ("page", "2"), ("limit", "3")]),
            page(before, 3)
        );
        for bad in ["x", "0", "-1", "012", "99999999999999999999", ""] {
            assert_eq!(asked(&[("before", bad)]), None, "{bad}");
        }
    }
}
