//! `migrate`: the schema up to date, the number of partitions recorded.

use std::io::Write;

use anyhow::Context as _;
use confab_shared::postgres::partitions;
use confab_shared::postgres::schema::migrate_telling;
use sqlx::PgPool;

/// Applies what is pending and says so, migration by migration, with the time that each took.
pub async fn run(pool: &PgPool, count: u16, out: &mut impl Write) -> anyhow::Result<()> {
    let mut said = Ok(());
    migrate_telling(pool, |applied, left| {
        let (version, what) = (applied.version, applied.description);
        let took = applied.took.as_secs_f64();
        let line = writeln!(
            out,
            "applied {version:04} {what} in {took:.2} s, {left} left"
        );
        said = std::mem::replace(&mut said, Ok(())).and(line);
    })
    .await
    .context("cannot migrate the database")?;
    said?;
    partitions::prepare(pool, count).await?;
    writeln!(out, "the database is up to date, with {count} partitions")?;
    Ok(())
}
