//! Demo users, for trying a deployment out.

use sqlx::PgPool;

use crate::id::UserId;

/// Adds an account unless its address or name is taken. Answers whether it was added.
pub async fn add_user(
    pool: &PgPool,
    email: &str,
    username: &str,
    name: &str,
    password_hash: &str,
) -> Result<bool, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO users (id, email, username, name, password_hash) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(UserId::generate())
    .bind(email)
    .bind(username)
    .bind(name)
    .bind(password_hash)
    .execute(pool)
    .await?;
    Ok(added.rows_affected() == 1)
}
