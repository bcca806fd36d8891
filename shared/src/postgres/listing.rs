//! Pages in the order of the latest activity, at a cost that does not grow with what there is to list.
//!
//! An index on `updated_at` itself would make every message dearer: a row that is changed is written to no index as long as nothing
//! that any index holds is changed. So indexes hold `listed_at`, of which the worker's batches keep up that
//!
//! > `listed_at <= updated_at <= listed_at + 5 min`, or it is at infinity.
//!
//! A page is the first `n` rows before a cursor `(u, id)`, the latest first. All of them have `listed_at <= updated_at <= u`. Take the `n`
//! rows before the cursor that have the latest `listed_at`, and let `l` be the least of these: each has `updated_at >= l`. A row with
//! `listed_at < l - 5 min` has `updated_at < l`, so at least `n` go before it. What remains to be looked at are the rows from `l - 5 min`
//! to `u` by the index, and those at infinity. They are as many as the page, and what was active within some
//! minutes of either of its ends.
//!
//! The distance weighs one against the other: raising `listed_at` writes to every member's row, so a conversation pays for that with at most
//! one message in five minutes; and whoever lists looks at what was active within five minutes more than the page shows.

/// How far `updated_at` may be ahead of `listed_at`.
macro_rules! listing_distance {
    () => {
        "interval '5 minutes'"
    };
}
pub(super) use listing_distance;

/// The page as a subquery `c`, for a statement with the parameters `$1` and `$2`, the cursor's moment and id or nulls, and `$3`, the most
/// rows.
///
/// To be given: the columns, `updated_at` and `id` among them; the tables, `t` being the conversations; the condition by which the
/// index is chosen; and the table that has the `listed_at` to go by.
macro_rules! listing {
    ($columns:literal, $tables:literal, $of:literal, $indexed:literal) => {
        concat!(
            "(WITH near AS MATERIALIZED (
                SELECT ",
            $indexed,
            ".listed_at FROM ",
            $tables,
            "
                WHERE ",
            $of,
            " AND ",
            $indexed,
            ".listed_at < 'infinity'
                  AND ",
            $indexed,
            ".listed_at <= COALESCE($1::timestamptz, 'infinity')
                  AND ($1::timestamptz IS NULL OR (t.updated_at, t.id) < ($1, $2::uuid))
                ORDER BY ",
            $indexed,
            ".listed_at DESC LIMIT $3
              ), edge AS MATERIALIZED (
                SELECT CASE WHEN count(*) < $3 THEN '-infinity' ELSE min(listed_at) - ",
            $crate::postgres::listing::listing_distance!(),
            " END AS at FROM near
              )
              SELECT * FROM (
                (SELECT ",
            $columns,
            " FROM ",
            $tables,
            "
                 WHERE ",
            $of,
            " AND ",
            $indexed,
            ".listed_at = 'infinity'
                   AND ($1::timestamptz IS NULL OR (t.updated_at, t.id) < ($1, $2::uuid))
                 ORDER BY t.updated_at DESC, t.id DESC LIMIT $3)
                UNION ALL
                (SELECT ",
            $columns,
            " FROM ",
            $tables,
            "
                 WHERE ",
            $of,
            " AND ",
            $indexed,
            ".listed_at < 'infinity'
                   AND ",
            $indexed,
            ".listed_at <= COALESCE($1::timestamptz, 'infinity')
                   AND ",
            $indexed,
            ".listed_at >= (SELECT at FROM edge)
                   AND ($1::timestamptz IS NULL OR (t.updated_at, t.id) < ($1, $2::uuid))
                 ORDER BY t.updated_at DESC, t.id DESC LIMIT $3)
              ) t ORDER BY t.updated_at DESC, t.id DESC LIMIT $3) c"
        )
    };
}
pub(super) use listing;
