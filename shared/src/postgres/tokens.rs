//! Which tokens are still good, beyond what they say themselves.
//!
//! A token ends before its time by logging out (then its id is noted) or when the account's password changes (then all but the one
//! that asked for it end). Owns `revoked_tokens` and the token columns of `users`.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::users::Account;
use crate::auth::Claims;
use crate::id::UserId;

/// Whether a token is good, for `users u`: `$2` its id, `$3` its version, `$4` when it was issued. Tokens of other issuers carry no
/// version; for them the moment counts.
macro_rules! is_good {
    () => {
        "NOT EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti = $2)
         AND (COALESCE(u.kept_token = $2, false)
              OR CASE WHEN $3::integer IS NULL
                      THEN u.tokens_changed_at IS NULL OR u.tokens_changed_at <= to_timestamp($4)
                      ELSE u.token_version = $3 END)"
    };
}

/// The account of a token's bearer, if the token is still good.
pub async fn bearer(pool: &PgPool, claims: &Claims) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT u.id, u.email, u.username, u.name, u.avatar, u.role, u.token_version, u.appears_offline, u.last_seen_at, u.created_at
         FROM users u WHERE u.id = $1 AND u.role <> 'guest' AND ",
        is_good!()
    ))
    .bind(claims.sub)
    .bind(claims.jti)
    .bind(claims.ver)
    .bind(seconds(claims.iat))
    .fetch_optional(pool)
    .await
}

/// Ends one token.
pub async fn revoke(
    pool: &PgPool,
    user: UserId,
    jti: Uuid,
    expires_at: u64,
) -> Result<(), sqlx::Error> {
    let expires_at =
        OffsetDateTime::from_unix_timestamp(i64::try_from(expires_at).unwrap_or(i64::MAX))
            // A token for ever is remembered for as long as can be said.
            .unwrap_or_else(|_| OffsetDateTime::now_utc() + time::Duration::days(36_500));
    sqlx::query(
        "INSERT INTO revoked_tokens (jti, user_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT (jti) DO NOTHING",
    )
    .bind(jti)
    .bind(user)
    .bind(expires_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// The hash of an account's password, in PHC format.
pub async fn password_hash(pool: &PgPool, user: UserId) -> Result<Option<String>, sqlx::Error> {
    let found: Option<Option<String>> =
        sqlx::query_scalar("SELECT password_hash FROM users WHERE id = $1")
            .bind(user)
            .fetch_optional(pool)
            .await?;
    Ok(found.flatten())
}

/// Replaces the hash of a password by another, and with it ends all of the account's tokens but `kept`. Not if another change came
/// first: then the hash is no longer the one that the password was compared with.
pub async fn change_password(
    pool: &PgPool,
    user: UserId,
    old_hash: &str,
    new_hash: &str,
    kept: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE users SET password_hash = $3, token_version = token_version + 1, kept_token = $4, tokens_changed_at = now()
         WHERE id = $1 AND password_hash = $2",
    )
    .bind(user)
    .bind(old_hash)
    .bind(new_hash)
    .bind(kept)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Of these bearers, those whose token is no longer good. For finding out after something may have gone unheard.
pub async fn no_longer_good(
    pool: &PgPool,
    bearers: &[Claims],
) -> Result<Vec<(UserId, Option<Uuid>)>, sqlx::Error> {
    let users: Vec<UserId> = bearers.iter().map(|claims| claims.sub).collect();
    let ids: Vec<Option<Uuid>> = bearers.iter().map(|claims| claims.jti).collect();
    let versions: Vec<Option<i32>> = bearers.iter().map(|claims| claims.ver).collect();
    let issued: Vec<f64> = bearers.iter().map(|claims| seconds(claims.iat)).collect();
    sqlx::query_as(
        "SELECT b.user_id, b.jti
         FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::double precision[]) AS b (user_id, jti, version, issued)
         LEFT JOIN users u ON u.id = b.user_id
         WHERE u.id IS NULL
            OR EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti = b.jti)
            OR NOT (COALESCE(u.kept_token = b.jti, false)
                    OR CASE WHEN b.version IS NULL
                            THEN u.tokens_changed_at IS NULL OR u.tokens_changed_at <= to_timestamp(b.issued)
                            ELSE u.token_version = b.version END)",
    )
    .bind(users)
    .bind(ids)
    .bind(versions)
    .bind(issued)
    .fetch_all(pool)
    .await
}

/// Forgets tokens that have ended by themselves, in bounded steps. Answers how many.
pub async fn prune(pool: &PgPool) -> Result<u64, sqlx::Error> {
    const PAGE: i64 = 1_000;
    let mut pruned = 0;
    loop {
        let page = sqlx::query(
            "DELETE FROM revoked_tokens WHERE jti = ANY(ARRAY(
                 SELECT jti FROM revoked_tokens WHERE expires_at < now() ORDER BY expires_at LIMIT $1
             ))",
        )
        .bind(PAGE)
        .execute(pool)
        .await?
        .rows_affected();
        pruned += page;
        if page == 0 {
            return Ok(pruned);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 are exact in a double for as long as anybody will ask"
)]
fn seconds(moment: u64) -> f64 {
    moment as f64
}
